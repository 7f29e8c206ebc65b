import type { Connection, PeerId, Stream } from '@libp2p/interface'
import { type Logger, PIECE_RULE, pause, plainAddress, withDeadline } from '@shoal/core'
import type { Libp2p } from 'libp2p'
import type { Holder, HoldingsSource, Wanted } from './holders.ts'
import {
  encodeAnswer,
  encodeQuestion,
  MAX_ANSWER_BYTES,
  MAX_QUESTION_BYTES,
  parseAnswer,
  parseQuestion,
} from './holdings-messages.ts'
import { laneHostOf } from './lane-host.ts'
import type { SwarmMetrics } from './metrics.ts'
import { QuestionRate } from './question-rate.ts'
import { readMessage } from './stream-message.ts'

/** The answer means nothing to a node that cuts blobs into other pieces. */
const PROTOCOL = `/shoal/holdings/${PIECE_RULE}.0.0`
/** For one question and its answer, at the side that answers. */
const SERVE_DEADLINE_MS = 5000
/** How long an answer waits for what comes of a wish: the origin is asked whether it gives the blob. */
const WISH_MS = 1000
/** Streams of one connection at once. */
const MAX_STREAMS = 32
/** Questions that are being answered at once, of all nodes. */
const MAX_SERVED = 256
/** A node asks each holder of a blob about once a second, and an image has a few dozen blobs. */
const RATE = { burst: 128, perSecond: 64, maxNodes: 4096 }
const ADDRESS_CODES: ReadonlySet<string> = new Set(['ip4', 'ip6'])

/** Nodes tell each other what they hold of a blob: one question and one answer on a stream of its own. */
export class HoldingsExchange {
  readonly #source: HoldingsSource
  readonly #lane: () => { host: string; port: number }
  readonly #log: Logger
  readonly #metrics: SwarmMetrics
  readonly #rate = new QuestionRate(RATE)
  #served = 0

  constructor(dependencies: {
    source: HoldingsSource
    /** Where this node's lane is; an empty host: where it is connected from. */
    lane: () => { host: string; port: number }
    log: Logger
    metrics: SwarmMetrics
  }) {
    this.#source = dependencies.source
    this.#lane = dependencies.lane
    this.#log = dependencies.log
    this.#metrics = dependencies.metrics
  }

  /** Answers questions that come to `node`. */
  async serveOn(node: Libp2p): Promise<void> {
    await node.handle(PROTOCOL, (stream, connection) => this.#serve(stream, connection), {
      maxInboundStreams: MAX_STREAMS,
      maxOutboundStreams: MAX_STREAMS,
    })
  }

  /** See HolderFinder. */
  async ask(
    node: Libp2p,
    peerId: PeerId,
    { digest, size }: { readonly digest: string; readonly size: number },
    wanted: Wanted | undefined,
    signal: AbortSignal,
  ): Promise<Holder | undefined> {
    const connection = await node.dial(peerId, { signal })
    const stream = await connection.newStream(PROTOCOL, { signal, maxOutboundStreams: MAX_STREAMS })
    const question = wanted === undefined ? { digest } : { digest, wanted }
    const [bytes] = await Promise.all([
      readMessage(stream, MAX_ANSWER_BYTES, signal),
      sendWhole(stream, encodeQuestion(question), signal),
    ])
    const answer = parseAnswer(bytes, size)
    if (answer === undefined) {
      if (bytes.byteLength > 0)
        this.#log.debug({ digest, peer: peerId.toString() }, 'what a node says it holds makes no sense')
      return undefined
    }
    const host = laneHostOf(answer.host, remoteHost(connection))
    if (host === undefined) return undefined
    return { ...answer.holdings, peerId: peerId.toString(), host, port: answer.port }
  }

  async #serve(stream: Stream, connection: Connection): Promise<void> {
    const peerId = connection.remotePeer.toString()
    if (this.#served >= MAX_SERVED || !this.#rate.take(peerId, performance.now())) {
      this.#metrics.questions.inc({ outcome: 'refused' })
      stream.abort(new Error('too many questions'))
      return
    }
    this.#served++
    try {
      const outcome = await this.#answer(stream, connection, withDeadline(SERVE_DEADLINE_MS))
      this.#metrics.questions.inc({ outcome })
    } catch (error) {
      this.#metrics.questions.inc({ outcome: 'broken' })
      this.#log.debug({ peer: peerId, err: error }, 'a question for holdings broke off')
      stream.abort(error instanceof Error ? error : new Error('broke off'))
    } finally {
      this.#served--
    }
  }

  async #answer(stream: Stream, connection: Connection, signal: AbortSignal): Promise<'answered' | 'malformed'> {
    const question = parseQuestion(await readMessage(stream, MAX_QUESTION_BYTES, signal))
    if (question === undefined) {
      stream.abort(new Error('not a question for holdings'))
      return 'malformed'
    }
    const { digest, wanted } = question
    if (wanted !== undefined) {
      // The asker is told what came of its wish, if that is known soon.
      const known = new AbortController()
      const wish = this.#source
        .fetchForOthers(digest, wanted, connection.remotePeer.toString())
        .finally(() => known.abort())
      await Promise.race([wish, pause(WISH_MS, known.signal)])
    }
    const holdings = await this.#source.holdings(digest)
    const lane = this.#lane()
    const host = laneHostOf(lane.host, remoteHost(connection)) === lane.host ? lane.host : ''
    const answer = encodeAnswer(holdings === undefined ? undefined : { holdings, host, port: lane.port })
    await sendWhole(stream, answer, signal)
    return 'answered'
  }
}

/** Sends the only message of this direction, and ends it. */
async function sendWhole(stream: Stream, bytes: Uint8Array, signal: AbortSignal): Promise<void> {
  if (bytes.byteLength > 0) stream.send(bytes)
  await stream.close({ signal })
}

/** The address of the other end of a connection. */
function remoteHost(connection: Connection): string | undefined {
  const host = connection.remoteAddr.getComponents().find(({ name }) => ADDRESS_CODES.has(name))?.value
  return host === undefined ? undefined : plainAddress(host)
}
