import { createServer } from 'node:net'
import { listenError } from '@shoal/core'

/**
 * Makes sure that nobody listens on `port`: worker threads bind with SO_REUSEPORT, so a second node of the same user
 * would quietly share the first one's port and take half of its connections. Throws CoreError `PORT_IN_USE` or
 * `LISTEN_FAILED`.
 */
export async function probePort(what: string, host: string, port: number): Promise<void> {
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ host, port }, resolve)
    })
  } catch (cause) {
    throw listenError(what, host, port, cause)
  }
  await new Promise((resolve) => server.close(resolve))
}
