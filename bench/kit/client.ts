import { connect } from 'node:net'

/** One answer read to its end. */
export interface Read {
  readonly status: number
  /** Body bytes. */
  readonly bytes: number
  readonly firstByteMs: number
  readonly totalMs: number
}

/**
 * GETs a URL on a connection of its own into one buffer that is used again, so that the client costs as little as
 * one can: what is measured is the server.
 * @param onBody sees the body as it comes, in order; its bytes are good during the call only
 */
export function read(url: string, buffer: Buffer, onBody?: (bytes: Buffer, offset: number) => void): Promise<Read> {
  const { hostname, port, pathname, search } = new URL(url)
  return new Promise((resolve, reject) => {
    const beganMs = performance.now()
    let firstByteMs = 0
    let head = ''
    let status = 0
    let length = 0
    let bytes = 0
    const take = (taken: number): boolean => {
      let body = taken
      if (status === 0) {
        firstByteMs ||= performance.now() - beganMs
        head += buffer.toString('latin1', 0, taken)
        const end = head.indexOf('\r\n\r\n')
        if (end < 0) return true
        status = Number(head.slice(9, 12))
        length = Number(/content-length: *(\d+)/i.exec(head.slice(0, end))?.[1] ?? -1)
        body = head.length - end - 4
      }
      onBody?.(buffer.subarray(taken - body, taken), bytes)
      bytes += body
      if (bytes < length) return true
      resolve({ status, bytes, firstByteMs, totalMs: performance.now() - beganMs })
      socket.destroy()
      return true
    }
    const socket = connect({ host: hostname, port: Number(port), onread: { buffer, callback: take } })
    socket.on('error', reject)
    socket.on('close', () => reject(new Error(`${url} broke off after ${bytes} of ${length} bytes`)))
    socket.write(`GET ${pathname}${search} HTTP/1.1\r\nhost: ${hostname}\r\nconnection: close\r\n\r\n`)
  })
}
