import type { ServerResponse } from 'node:http'

/**
 * Writes a part of a response's body; resolves when the system has taken it, so its buffer may be used again. False
 * when the client has left.
 */
export function writeBody(response: ServerResponse, chunk: Uint8Array): Promise<boolean> {
  return new Promise((resolve) => {
    const left = () => resolve(false)
    if (response.destroyed) return left()
    // A write that waits in a queue when the connection breaks is never called back.
    response.once('close', left)
    response.write(chunk, (error) => {
      response.off('close', left)
      resolve(error === null || error === undefined)
    })
  })
}
