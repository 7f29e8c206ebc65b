/** A thread that serves the blob over plain TCP, or TLS alone: the lane's server without frames, checks and timers. */
import { openSync, read } from 'node:fs'
import { createServer, type Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { parentPort } from 'node:worker_threads'
import { type LaneCredentials, laneSecureOptions } from '@shoal/peer'
import { RequestReader, SEND_BYTES } from './plan.ts'

/** What the thread is started with. */
export interface PlainServerSettings {
  readonly file: string
  /** 0: any free port. */
  readonly port: number
  /** Present: over TLS as the lane's, without asking who the client is. */
  readonly credentials?: LaneCredentials
}

parentPort?.once('message', ({ file, port, credentials }: PlainServerSettings) => {
  const fd = openSync(file, 'r')
  const server =
    credentials === undefined
      ? createServer({ noDelay: true }, (socket) => serve(socket, fd))
      : createTlsServer({ ...laneSecureOptions(credentials), noDelay: true }, (socket) => serve(socket, fd))
  server.listen({ host: '127.0.0.1', port, reusePort: true }, () => {
    const address = server.address()
    parentPort?.postMessage(typeof address === 'object' && address !== null ? address.port : port)
  })
})

function serve(socket: Socket, fd: number): void {
  const requests = new RequestReader()
  const queue: { offset: number; length: number }[] = []
  const chunk = Buffer.allocUnsafeSlow(SEND_BYTES)
  let position = 0
  let left = 0
  let isSending = false
  const send = (): void => {
    if (left === 0) {
      const request = queue.shift()
      isSending = request !== undefined
      if (request === undefined) return
      position = request.offset
      left = request.length
    }
    read(fd, chunk, 0, Math.min(SEND_BYTES, left), position, (error, bytes) => {
      if (error !== null || bytes === 0) throw error ?? new Error('the blob is shorter than it was')
      position += bytes
      left -= bytes
      socket.write(chunk.subarray(0, bytes), () => {
        if (!socket.destroyed) send()
      })
    })
  }
  socket.on('data', (bytes) => {
    queue.push(...requests.push(Buffer.from(bytes)))
    // Also between the last chunk and its callback: one chunk is under way at a time, in the one buffer.
    if (!isSending) send()
  })
  // The receiver goes when it has everything.
  socket.on('error', () => {})
}
