import type { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer, type Server } from 'node:tls'
import { FileReads } from '@shoal/core'
import type { HeldBlobs } from './held-blobs.ts'
import { LANE_ALPN, type LaneCredentials, laneSecureOptions, peerOf } from './peer-certificate.ts'
import { ServerConnection, type ServerContext } from './server-connection.ts'
import type { LaneCounts, Transport } from './shared-counts.ts'
import type { UploadSlots } from './upload-slots.ts'
import type { UploadTurns } from './upload-turns.ts'

export interface LaneServerOptions {
  readonly host: string
  /** Sends at once over all threads of the node; fewer under an upload limit. */
  readonly uploadSlots: number
  /** A connection without requests is closed after this. */
  readonly idleCloseMs: number
  /** A peer that has not finished the TLS handshake by then, or its hello after as long again, is dropped. */
  readonly handshakeTimeoutMs?: number
  /** A reader that does not take 512 KiB in this time is dropped. */
  readonly writeTimeoutMs?: number
}

export interface LaneServerDependencies {
  readonly credentials: LaneCredentials
  readonly blobs: HeldBlobs
  readonly counts: LaneCounts
  readonly slots: UploadSlots
  readonly turns: UploadTurns
  /** Told when the first peer has connected. */
  readonly firstConnected?: () => void
  /** Told when a held piece can not be read from disk. */
  readonly readFailed: (digest: string, error: unknown) => void
  /** Told when a peer says that a piece was wrong when it came. Left out: nobody asks. */
  readonly rejected?: (digest: string, piece: number, peerId: string) => void
  /** Told when the clock of a peer is far ahead of ours; negative: behind. Left out: nobody asks. */
  readonly clockDiffers?: (peerId: string, aheadMs: number) => void
}

/** Connections one thread accepts; a further one is closed at once. */
const MAX_CONNECTIONS = 1024
const HANDSHAKE_TIMEOUT_MS = 5000
/** A peer that comes another way has lost a connection on which it takes nothing for so long. */
const STUCK_MS = 500
/** Long enough for a reader at 17 KiB/s. */
const WRITE_TIMEOUT_MS = 30_000

/**
 * The upload side of the lane in one thread. Several threads, each with its own, listen on one port (SO_REUSEPORT);
 * the kernel deals connections out among them.
 */
export class LaneServer {
  readonly #options: LaneServerOptions
  readonly #server: Server
  /** Every connection, also those that have not finished the TLS handshake, and every stream. */
  readonly #sockets = new Set<Duplex>()
  /** Those of the lane proper. */
  readonly #connections = new Set<ServerConnection>()
  readonly #contexts: Readonly<Record<Transport, ServerContext>>

  constructor(options: LaneServerOptions, deps: LaneServerDependencies) {
    this.#options = options
    const { handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS, writeTimeoutMs = WRITE_TIMEOUT_MS } = options
    const shared = { ...deps, ...options, handshakeTimeoutMs, writeTimeoutMs, reads: new FileReads(), chunks: [] }
    const { tls, libp2p } = deps.counts
    this.#contexts = { tls: { ...shared, counts: tls }, libp2p: { ...shared, counts: libp2p } }
    this.#server = createServer({
      ...laneSecureOptions(deps.credentials),
      ALPNProtocols: LANE_ALPN,
      requestCert: true,
      // No authority signs these certificates: peerOf checks them.
      rejectUnauthorized: false,
      handshakeTimeout: handshakeTimeoutMs,
      noDelay: true,
    })
    this.#server.maxConnections = MAX_CONNECTIONS
    this.#server.on('secureConnection', (socket) => this.#accept(socket, 'tls', () => peerOf(socket)))
    this.#server.once('secureConnection', () => deps.firstConnected?.())
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    // Node leaves the socket open when the handshake took too long.
    this.#server.on('tlsClientError', (_error, socket) => socket.destroy())
  }

  /** Listens; returns the port bound. Throws the system's error. */
  listen(port: number): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ host: this.#options.host, port, reusePort: true }, () => {
        this.#server.off('error', reject)
        // Such as EMFILE on accept: the connection is lost, the server goes on.
        this.#server.on('error', () => {})
        const address = this.#server.address()
        resolve(typeof address === 'object' && address !== null ? address.port : port)
      })
    })
  }

  /** Closes the port and every connection. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }

  /** Serves a peer, known to be it, on a libp2p stream as on a connection of its own. */
  serve(stream: Duplex, peerId: string): void {
    this.#sockets.add(stream)
    stream.once('close', () => this.#sockets.delete(stream))
    this.#accept(stream, 'libp2p', () => peerId)
  }

  /**
   * The peer does not get through on the lane: its connections that stand still are closed now, since they would keep
   * its share of the upload slots until their deadline.
   */
  cutOff(peerId: string): void {
    for (const connection of this.#connections) {
      if (connection.peerId === peerId && connection.isStuckFor(STUCK_MS)) connection.destroy()
    }
  }

  #accept(socket: Duplex, transport: Transport, peer: () => string): void {
    const context = this.#contexts[transport]
    context.counts.opened('sent')
    const connection = new ServerConnection(socket, peer, context)
    if (transport === 'tls') this.#connections.add(connection)
    socket.once('close', () => {
      this.#connections.delete(connection)
      context.counts.closed('sent')
    })
    connection.start()
  }
}
