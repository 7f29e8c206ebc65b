import { Agent as HttpAgent } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import type { Duplex } from 'node:stream'
import { LenientSocket } from './lenient-socket.ts'

type Created = (error: Error | null, socket: Duplex) => void

/** Connections over http for answers that Node's parser refuses, each for one request. */
export class LenientHttpAgent extends HttpAgent {
  override createConnection(options: Parameters<HttpAgent['createConnection']>[0]): Duplex | null | undefined {
    return mended(super.createConnection(options))
  }
}

/** The same over https. */
export class LenientHttpsAgent extends HttpsAgent {
  override createConnection(
    options: Parameters<HttpsAgent['createConnection']>[0],
    created?: Created,
  ): Duplex | null | undefined {
    if (this.options.proxyEnv === undefined) return mended(super.createConnection(options))
    // Through a proxy it is told of when the tunnel stands.
    super.createConnection(options, (error, socket) => created?.(error, error ? socket : new LenientSocket(socket)))
    return undefined
  }
}

function mended(socket: Duplex | null | undefined): Duplex | null | undefined {
  return socket && new LenientSocket(socket)
}
