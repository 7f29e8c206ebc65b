import type { ClientDuplexStream } from '@grpc/grpc-js'
import { type Logger, PIECE_RULE } from '@shoal/core'
import {
  type ConnectRequest,
  type ConnectResponse,
  type Hello,
  type LeaseFailed_Reason,
  type NodeCommand,
  type PieceFailed_Reason,
  Priority,
  type Welcome,
} from '@shoal/proto'
import type { Event } from './event-queue.ts'
import { EventSender } from './event-sender.ts'
import type { BlobOrigin, CommandListener, OriginShare, ParentNode, Urgency } from './events.ts'
import { SilenceWatch } from './silence-watch.ts'
import { StreamNames } from './stream-names.ts'
import { swarmFailureOf } from './swarm-failures.ts'

const SHA256_BYTES = 32
/** Of what the scheduler says for people. */
const MOST_REASON_CHARS = 300
const NONE = Buffer.alloc(0)

type Command = NonNullable<NodeCommand['command']>
type Call = ClientDuplexStream<ConnectRequest, ConnectResponse>

/** What happens on a stream. */
export interface StreamListener extends CommandListener {
  /** The scheduler has answered; it has been there for nodes for `uptimeMs`. */
  welcomed(uptimeMs: number): void
  originShare(share: OriginShare): void
}

/** How a stream ended. */
export interface StreamEnd {
  /** Whether the scheduler had answered. */
  readonly wasWelcome: boolean
  readonly error: unknown
}

/**
 * One stream to a scheduler, from hello to its end. Events are dropped before the scheduler's answer; so are those of
 * swarms that were never named on this stream, and what only another stream knows.
 */
export class SchedulerStream {
  /** Resolves when the stream is over. */
  readonly ended: Promise<StreamEnd>
  #isWelcome = false
  #hearsLeaseProgress = false
  #isOver = false
  readonly #call: Call
  readonly #listener: StreamListener
  readonly #log: Logger
  readonly #names = new StreamNames()
  /** Blobs that the node said it waits for. */
  readonly #wanted = new Set<string>()
  /** Events of swarms whose number was asked for and has not come yet. */
  readonly #waiting = new Map<string, ((swarm: number) => Event)[]>()
  /** Blobs whose piece digests the scheduler asked for. */
  readonly #mapsWanted = new Set<string>()
  readonly #sender: EventSender
  /** Present once the scheduler said that it answers pings. */
  #silence: SilenceWatch | undefined
  /** Why it is we who end the stream, where it is. */
  #reason: Error | undefined

  constructor(call: Call, hello: Hello, listener: StreamListener, log: Logger) {
    this.#call = call
    this.#listener = listener
    this.#log = log
    this.#sender = new EventSender(
      (request) => call.write(request),
      (queued) => {
        log.error({ queued }, 'the scheduler does not read; dialling again')
        this.cancel()
      },
    )
    call.write({ events: [{ event: { $case: 'hello', value: hello } }] })
    this.ended = new Promise((resolve) => {
      let error: unknown
      call.on('data', ({ commands }: ConnectResponse) => {
        this.#silence?.heard(commands.every(({ command }) => command?.$case === 'pong'))
        for (const { command } of commands) if (command !== undefined) this.#apply(command)
      })
      call.on('drain', () => this.#sender.drained())
      const end = () => {
        if (this.#isOver) return
        this.#isOver = true
        this.#silence?.stop()
        this.#sender.stop()
        call.cancel()
        resolve({ wasWelcome: this.#isWelcome, error: this.#reason ?? error })
      }
      call.on('error', (cause) => {
        error = cause
        end()
      })
      call.on('end', end)
    })
  }

  /** Whether the scheduler has answered and the stream is not over. */
  get isWelcome(): boolean {
    return this.#isWelcome && !this.#isOver
  }

  /** Events that wait to be sent. */
  get queued(): number {
    return this.#sender.queued
  }

  /** Whether the scheduler was told of the blob, or told us of it, and hears of its pieces. */
  knows(digest: string): boolean {
    return this.#waiting.has(digest) || this.#names.numberOf(digest) !== undefined
  }

  /** libp2p addresses of a parent that the scheduler named; none when it did not. */
  multiaddrsOf(peerId: string): readonly string[] {
    return this.#names.parentOf(peerId)?.multiaddrs ?? []
  }

  /** Whether the node told this scheduler that it waits for the blob, and not that it does so no longer. */
  wants(digest: string): boolean {
    return this.#wanted.has(digest)
  }

  cancel(): void {
    this.#call.cancel()
  }

  holding(digest: string, size: number): void {
    this.#send({ $case: 'holding', value: { digest, size } })
  }

  holdingPart(digest: string, size: number, have: Uint8Array): void {
    this.#askForNumber(digest)
    this.#send({ $case: 'holdingPart', value: { digest, size, have: Buffer.from(have) } })
  }

  withdrawn(digest: string): void {
    this.#send({ $case: 'withdrawn', value: { digest } })
  }

  join(digest: string, size: number, origin: BlobOrigin, have: Uint8Array, urgency: Urgency): void {
    const priority = urgency === 'interactive' ? Priority.INTERACTIVE : Priority.PREFETCH
    this.#wanted.add(digest)
    this.#askForNumber(digest)
    this.#send({ $case: 'join', value: { digest, size, origin: { ...origin }, have: Buffer.from(have), priority } })
  }

  leave(digest: string): void {
    if (!this.knows(digest)) return
    this.#wanted.delete(digest)
    this.#send({ $case: 'leave', value: { digest } })
  }

  pieceEnding(digest: string, piece: number, parent: ParentNode): void {
    if (!this.#names.hasIntroduced(parent)) return
    this.#sendInSwarm(digest, (swarm) => ({ $case: 'pieceEnding', value: { swarm, piece, parent: parent.number } }))
  }

  pieceDone(digest: string, piece: number, parent: ParentNode, durationUs: number): void {
    const isOurs = this.#names.hasIntroduced(parent)
    const from = isOurs ? { parent: parent.number, durationUs } : { parent: 0, durationUs: 0 }
    this.#sendInSwarm(digest, (swarm) => ({ $case: 'pieceDone', value: { swarm, piece, sha256: NONE, ...from } }))
  }

  pieceFetched(digest: string, piece: number, sha256: Uint8Array, durationUs: number): void {
    this.#sendInSwarm(digest, (swarm) => ({
      $case: 'pieceDone',
      value: { swarm, piece, parent: 0, sha256: Buffer.from(sha256), durationUs },
    }))
  }

  pieceFailed(digest: string, piece: number, parent: ParentNode, reason: PieceFailed_Reason): void {
    if (!this.#names.hasIntroduced(parent)) return
    this.#sendInSwarm(digest, (swarm) => ({
      $case: 'pieceFailed',
      value: { swarm, piece, parent: parent.number, reason },
    }))
  }

  leaseProgress(digest: string): void {
    if (!this.#hearsLeaseProgress) return
    this.#sendInSwarm(digest, (swarm) => ({ $case: 'leaseProgress', value: { swarm } }))
  }

  leaseFailed(digest: string, reason: LeaseFailed_Reason): void {
    this.#sendInSwarm(digest, (swarm) => ({ $case: 'leaseFailed', value: { swarm, reason } }))
  }

  pieceMap(digest: string, size: number, sha256s: Uint8Array): void {
    if (!this.#mapsWanted.delete(digest)) return
    this.#send({ $case: 'pieceMap', value: { digest, size, sha256s: Buffer.from(sha256s) } })
  }

  /** The number may be another than it was: events wait for the answer. */
  #askForNumber(digest: string): void {
    if (this.isWelcome && !this.#waiting.has(digest)) this.#waiting.set(digest, [])
  }

  #send(event: Event): void {
    if (this.isWelcome) this.#sender.send(event)
  }

  #sendInSwarm(digest: string, build: (swarm: number) => Event): void {
    const waiting = this.#waiting.get(digest)
    const swarm = this.#names.numberOf(digest)
    if (waiting !== undefined) waiting.push(build)
    else if (swarm !== undefined) this.#send(build(swarm))
  }

  #apply(command: Command): void {
    if (this.#reason !== undefined) return
    if (command.$case === 'welcome') this.#welcome(command.value)
    else if (command.$case === 'swarm') this.#nameSwarm(command.value)
    else if (command.$case === 'parent') this.#names.nameParent(command.value)
    else if (command.$case === 'originBudget') this.#listener.originShare(command.value)
    else if (command.$case === 'pong') return
    else if (command.$case === 'refused') {
      this.#log.warn({ reason: command.value.reason.slice(0, MOST_REASON_CHARS) }, 'the scheduler refused something')
    } else if (command.$case === 'pieceMapWanted') {
      this.#mapsWanted.add(command.value.digest)
      this.#listener.pieceMapWanted(command.value.digest)
    } else if (!this.#applyInSwarm(command)) {
      this.#log.error({ command: command.$case }, 'the scheduler named something unknown; dialling again')
      this.cancel()
    }
  }

  #welcome({ answersPings, bootstrap, hearsLeaseProgress, pieceRule, readsBatches, uptimeMs }: Welcome): void {
    if (pieceRule !== PIECE_RULE) {
      const reason = `it cuts blobs into different pieces, by rule ${pieceRule}, not ${PIECE_RULE}`
      this.#leave(`${reason}: run the same release of Shoal on both`)
      return
    }
    this.#isWelcome = true
    this.#hearsLeaseProgress = hearsLeaseProgress
    this.#sender.readsBatches = readsBatches
    if (answersPings && !this.#isOver) {
      this.#silence ??= new SilenceWatch({
        isWaiting: () => this.#listener.isWaiting(),
        ask: () => this.#send({ $case: 'ping', value: {} }),
        givenUp: () => this.#leave('it does not answer'),
      })
    }
    this.#listener.welcomed(uptimeMs)
    this.#listener.bootstrap(bootstrap)
  }

  #leave(reason: string): void {
    this.#reason = new Error(reason)
    this.cancel()
  }

  #nameSwarm({ digest, swarm, size }: { digest: string; swarm: number; size: number }): void {
    this.#names.nameSwarm(swarm, { digest, size })
    const waiting = this.#waiting.get(digest) ?? []
    this.#waiting.delete(digest)
    for (const build of waiting) this.#send(build(swarm))
  }

  /** Applies a command that names a swarm; false when what it names was never introduced. */
  #applyInSwarm(command: Exclude<Extract<Command, { value: { swarm: number } }>, { $case: 'swarm' }>): boolean {
    const number = command.value.swarm
    const swarm = this.#names.swarm(number)
    if (swarm === undefined) return false
    const { digest } = swarm
    if (command.$case === 'lease') this.#names.turnTo(number)
    // The node has turned to a swarm of another size since.
    else if (this.#names.numberOf(digest) !== number) return true
    if (command.$case === 'assignment') {
      const { piece, parent, sha256 } = command.value
      return this.#assign(digest, piece, parent, sha256)
    }
    if (command.$case === 'assignments') {
      const { pieces, parents, sha256s } = command.value
      if (parents.length !== pieces.length || sha256s.byteLength !== pieces.length * SHA256_BYTES) return false
      return pieces.every((piece, i) =>
        this.#assign(digest, piece, parents[i] as number, sha256s.subarray(i * SHA256_BYTES, (i + 1) * SHA256_BYTES)),
      )
    }
    if (command.$case === 'lease') {
      const { firstPiece, pieceCount, origin } = command.value
      if (origin === undefined) return false
      this.#listener.leased({ ...swarm, firstPiece, pieceCount, origin })
    } else if (command.$case === 'leaseTaken') {
      this.#listener.leaseTaken(digest)
    } else if (command.$case === 'swarmFailed') {
      this.#listener.swarmFailed(digest, swarmFailureOf(command.value.reason))
    } else {
      this.#listener.swarmGetsOn(digest)
    }
    return true
  }

  #assign(digest: string, piece: number, number: number, sha256: Uint8Array): boolean {
    const parent = this.#names.parent(number)
    if (parent === undefined || sha256.byteLength !== SHA256_BYTES) return false
    this.#listener.assigned({ digest, piece, parent, sha256 })
    return true
  }
}
