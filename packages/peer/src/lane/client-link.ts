import type { SocketConstructorOpts } from 'node:net'
import type { Duplex } from 'node:stream'
import { type ConnectionOptions, connect, type SecureContext } from 'node:tls'
import { LANE_ALPN, peerOf } from './peer-certificate.ts'
import type { LaneParent } from './piece-fetch.ts'

/** Who is told what comes of a link. */
export interface LinkListener {
  /** The link is open. `peer` is the libp2p peer at the other end; throws LaneError `handshake` when that is not proven. */
  opened(peer: () => string): void
  /** Bytes came, valid during the call only; false: no more until the link is resumed. */
  read(bytes: Buffer): boolean
}

/** One way to parents. */
export interface Links {
  /** Begins a link to a parent; it is over when it is closed. */
  open(parent: LaneParent, listener: LinkListener): Duplex
  /** What a link to the parent is called in messages. */
  nameOf(parent: LaneParent): string
}

/**
 * Links over TLS to the parent's lane.
 * @param readBuffer where all of them read: each read is dealt with before the next one begins
 */
export function tlsLinks(secureContext: SecureContext, readBuffer: Buffer): Links {
  const open = (parent: LaneParent, listener: LinkListener) => {
    const options: ConnectionOptions & Pick<SocketConstructorOpts, 'onread'> = {
      host: parent.host,
      port: parent.port,
      secureContext,
      ALPNProtocols: LANE_ALPN,
      // No authority signs these certificates: peerOf checks them.
      rejectUnauthorized: false,
      onread: {
        buffer: readBuffer,
        callback: (bytes, { buffer, byteOffset }) => listener.read(Buffer.from(buffer, byteOffset, bytes)),
      },
    }
    const socket = connect(options)
    socket.setNoDelay(true)
    socket.once('secureConnect', () => listener.opened(() => peerOf(socket)))
    return socket
  }
  return { open, nameOf: ({ host, port }) => `the lane at ${host}:${port}` }
}
