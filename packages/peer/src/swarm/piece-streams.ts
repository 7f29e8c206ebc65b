import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { type Logger, withDeadline } from '@shoal/core'
import type { Libp2p } from 'libp2p'
import { QuestionRate } from './question-rate.ts'

/** On its streams the frames of the lane are spoken (lane/frames.ts). */
const PROTOCOL = '/shoal/piece/1.0.0'
/** To find the peer's addresses, to connect if there is no connection, and to agree on the protocol. */
const OPEN_DEADLINE_MS = 2000
/** Streams of one peer at once: one for each of its worker threads, of which there are 64 at the most. */
const MAX_STREAMS_OF_PEER = 64
/** Streams at once, of all peers. */
const MAX_STREAMS = 256
/** A node keeps its streams; what it opens in quick succession is for others that broke. */
const RATE = { burst: 2 * MAX_STREAMS_OF_PEER, perSecond: 8, maxNodes: 4096 }

/** Streams for pieces between nodes that do not reach each other's lanes: who speaks on them is not known here. */
export class PieceStreams {
  readonly #serve: ((peerId: string, stream: Stream) => void) | undefined
  readonly #log: Logger
  readonly #rate = new QuestionRate(RATE)
  readonly #served = new Set<Stream>()

  /** @param dependencies.servePieces serves a peer on a stream, until that is closed; left out: none are served */
  constructor(dependencies: { servePieces?: (peerId: string, stream: Stream) => void; log: Logger }) {
    this.#serve = dependencies.servePieces
    this.#log = dependencies.log
  }

  /** Serves on streams that are opened to `node`. */
  async serveOn(node: Libp2p): Promise<void> {
    if (this.#serve === undefined) return
    await node.handle(PROTOCOL, (stream, connection) => this.#accept(stream, connection), {
      maxInboundStreams: MAX_STREAMS_OF_PEER,
      maxOutboundStreams: MAX_STREAMS_OF_PEER,
    })
  }

  /** A stream to the peer. Rejects when there is none in time. */
  async open(node: Libp2p, peerId: PeerId, unwanted: AbortSignal): Promise<Stream> {
    const signal = withDeadline(OPEN_DEADLINE_MS, unwanted)
    const connection = await node.dial(peerId, { signal })
    return connection.newStream(PROTOCOL, { signal, maxOutboundStreams: MAX_STREAMS_OF_PEER })
  }

  #accept(stream: Stream, { remotePeer }: Connection): void {
    const peerId = remotePeer.toString()
    if (this.#served.size >= MAX_STREAMS || !this.#rate.take(peerId, performance.now())) {
      this.#log.debug({ peer: peerId }, 'a stream for pieces is refused: there are too many')
      stream.abort(new Error('too many streams'))
      return
    }
    this.#served.add(stream)
    stream.addEventListener('close', () => this.#served.delete(stream))
    this.#serve?.(peerId, stream)
  }
}
