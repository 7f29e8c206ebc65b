import { once } from 'node:events'
import { connect as connectHttp2, constants } from 'node:http2'
import { connect as connectSocket } from 'node:net'
import { KitError } from '../errors.ts'

/**
 * One unary gRPC call over a unix socket, the message already encoded: all that talking to containerd needs.
 * Throws KitError `UNEXPECTED_ANSWER` with the server's status. Source: gRPC over HTTP2, PROTOCOL-HTTP2.md.
 * @param method `package.Service/Method`
 * @returns the encoded answer
 */
export async function callUnary(
  socketPath: string,
  method: string,
  message: Uint8Array,
  timeoutMs: number,
): Promise<Buffer> {
  const session = connectHttp2('http://localhost', { createConnection: () => connectSocket(socketPath) })
  // The stream fails too, and is awaited.
  session.on('error', () => {})
  try {
    const stream = session.request(
      {
        ':method': 'POST',
        ':path': `/${method}`,
        'content-type': 'application/grpc',
        te: 'trailers',
      },
      { signal: AbortSignal.timeout(timeoutMs) },
    )
    let status: Record<string, unknown> = {}
    stream.on('response', (headers) => {
      status = { ...headers }
    })
    stream.on('trailers', (trailers) => {
      status = { ...status, ...trailers }
    })
    const chunks: Buffer[] = []
    stream.on('data', (chunk: Buffer) => chunks.push(chunk))
    stream.end(frame(message))
    await once(stream, 'end')
    if (status['grpc-status'] !== '0') {
      const reason = decodeURIComponent(
        String(status['grpc-message'] ?? `HTTP ${status[constants.HTTP2_HEADER_STATUS]}`),
      )
      throw new KitError('UNEXPECTED_ANSWER', `${method}: gRPC status ${status['grpc-status']}: ${reason}`)
    }
    return unframe(method, Buffer.concat(chunks))
  } finally {
    session.destroy()
  }
}

function frame(message: Uint8Array): Buffer {
  const head = Buffer.alloc(5)
  head.writeUInt32BE(message.length, 1)
  return Buffer.concat([head, message])
}

function unframe(method: string, body: Buffer): Buffer {
  if (body.length < 5 || body[0] !== 0 || body.readUInt32BE(1) !== body.length - 5) {
    throw new KitError('UNEXPECTED_ANSWER', `${method}: the answer is not one uncompressed message`)
  }
  return body.subarray(5)
}
