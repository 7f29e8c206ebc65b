import { randomInt, randomUUID } from 'node:crypto'
import { performance } from 'node:perf_hooks'
import { errorChain, type Logger, PIECE_RULE } from '@shoal/core'
import type { ConnectRequest, Hello, NodeEvent } from '@shoal/proto'
import { SchedulingCore } from '../core/core.ts'
import { Random } from '../core/random.ts'
import type { CoreOptions } from '../core/state.ts'
import { SchedulerError } from '../errors.ts'
import type { SchedulerMetrics } from '../metrics.ts'
import { Traffic } from '../traffic/traffic.ts'
import { checkHello } from './checks.ts'
import { Directory } from './directory.ts'
import { applyEvent } from './events.ts'
import { Intake } from './intake.ts'
import { deliver } from './orders.ts'
import { OriginBudget } from './origin-budget.ts'
import { Presence } from './presence.ts'
import { type Call, closeCall, Session, type SessionEvents } from './session.ts'
import { Ticker } from './ticker.ts'
import { violation } from './violation.ts'

const MOST_EVENTS = 10_000
const UNREACHABLE_NODE =
  'nodes on other machines cannot fetch from this node, which names only loopback addresses; set its lane.advertiseHost'
const REVOKED = {
  stalled: 'nothing came from the origin for too long; another node is to fetch',
  slow: 'little came from the origin; what waits for other registries has its turn first',
} as const
const HELLO_TIMEOUT_MS = 5_000
/** Nodes with a stream, also such as have not said who they are. */
const MOST_STREAMS = 32_768
/** That nodes are turned away is logged so often. */
const TELL_TURNED_AWAY_MS = 60_000

export interface CoordinatorOptions extends CoreOptions {
  /** Events are gathered for so long, in milliseconds. */
  readonly tickMs: number
  /** A stream without hello for so long is ended. */
  readonly helloTimeoutMs?: number
  /** A node that leaves more bytes unread than this is dropped, besides what grpc-js and the kernel hold. */
  readonly mostWaitingBytes?: number
  /** Bytes a second that all nodes together may fetch from origins; undefined or 0: no limit. */
  readonly originBytesPerSecond?: number
  /** Streams at once, in place of 32 768. */
  readonly mostStreams?: number
}

/** Joins the nodes' streams to the scheduling core: events go in as they come, commands go out once a tick. */
export class Coordinator {
  readonly core: SchedulingCore
  /** What flows between the nodes. */
  readonly traffic = new Traffic(() => performance.now())
  /** Identifies this run. */
  readonly id = randomUUID()
  readonly #originBudget: OriginBudget
  readonly #presence = new Presence(() => performance.now())
  readonly #options: CoordinatorOptions
  readonly #metrics: SchedulerMetrics
  readonly #log: Logger
  readonly #ticker: Ticker
  /** Messages on the nodes' streams so far. */
  readonly messages = { in: 0, out: 0 }
  readonly #directory = new Directory()
  readonly #sessionAt = (index: number) => this.#directory.get(index)
  readonly #greeting = new Set<Call>()
  readonly #numbers = { indexOf: (parent: number) => this.#indexOf(parent) }
  /** Sessions for which something waits. */
  #waiting: Session[] = []
  readonly #sessionEvents: SessionEvents
  #nextNumber = 1
  #turnedAwayAt = Number.NEGATIVE_INFINITY
  #isStopped = false

  constructor(options: CoordinatorOptions, dependencies: { metrics: SchedulerMetrics; log: Logger }) {
    this.#options = options
    const { mostWaitingBytes } = options
    this.#sessionEvents = {
      ...(mostWaitingBytes === undefined ? {} : { mostWaitingBytes }),
      waits: (session) => {
        this.#waiting.push(session)
        this.#wake()
      },
      unread: (session, error) => this.#end(session, error),
    }
    this.#originBudget = new OriginBudget(options.originBytesPerSecond ?? 0)
    this.#metrics = dependencies.metrics
    this.#log = dependencies.log
    this.core = new SchedulingCore(options, new Random(randomInt(2 ** 32)))
    this.core.observe((swarm, child, parent, bytes, now) => this.traffic.arrived(swarm, child, parent, bytes, now))
    this.#ticker = new Ticker(options.tickMs, () => this.#tick())
  }

  get sessions(): readonly Session[] {
    return this.#directory.all
  }

  session(index: number): Session | undefined {
    return this.#directory.find(index)
  }

  /** Serves one stream until it ends. */
  serve(call: Call): void {
    const most = this.#options.mostStreams ?? MOST_STREAMS
    if (this.#directory.all.length + this.#greeting.size >= most) {
      this.#turnAway(call, most)
      return
    }
    let session: Session | undefined
    let isClosed = false
    const close = (error?: SchedulerError) => {
      if (isClosed) return
      isClosed = true
      intake.stop()
      if (session === undefined) closeCall(call, error)
      else this.#end(session, error)
      clearTimeout(greeting)
      this.#greeting.delete(call)
      call.off('data', onData)
      call.resume()
    }
    const greeting = setTimeout(
      () => close(new SchedulerError('HELLO_TIMEOUT', 'no hello came in time')),
      this.#options.helloTimeoutMs ?? HELLO_TIMEOUT_MS,
    )
    const apply = (event: NodeEvent) => {
      try {
        if (session === undefined) {
          if (event.event?.$case !== 'hello') throw violation('the first event must be hello')
          session = this.#greet(call, event.event.value)
          clearTimeout(greeting)
          this.#greeting.delete(call)
        } else if (this.#directory.find(session.index) === session) {
          applyEvent(this.core, this.#numbers, session, event.event)
        } else close()
      } catch (error) {
        close(this.#failure(error))
      }
    }
    const intake = new Intake(call, apply, () => {
      this.core.setTime(performance.now())
      this.#wake()
    })
    const onData = ({ events }: ConnectRequest) => {
      this.messages.in++
      if (events.length > MOST_EVENTS) close(violation(`a message may carry at most ${MOST_EVENTS} events`))
      else intake.take(events)
    }
    this.#greeting.add(call)
    call.on('data', onData)
    call.on('end', () => close())
    call.on('cancelled', () => close())
    call.on('error', () => close())
  }

  /** Ends all streams. */
  stop(): void {
    this.#isStopped = true
    this.#presence.stop()
    this.#ticker.stop()
    for (const call of this.#greeting) call.end()
    for (const session of [...this.#directory.all]) this.#end(session)
  }

  /** Ends a stream that is one too many. The node dials again; until then it does as it does without a scheduler. */
  #turnAway(call: Call, most: number): void {
    const error = new SchedulerError(
      'LIMIT_EXCEEDED',
      `the scheduler serves at most ${most} nodes; run more schedulers`,
    )
    this.#metrics.drops.inc({ code: error.code })
    const now = performance.now()
    if (now - this.#turnedAwayAt >= TELL_TURNED_AWAY_MS) {
      this.#turnedAwayAt = now
      this.#log.warn({ address: call.getPeer(), code: error.code, reason: error.message }, 'node turned away')
    }
    call.on('error', () => {})
    closeCall(call, error)
  }

  #greet(call: Call, hello: Hello): Session {
    const introduction = checkHello(hello, call.getPeer())
    const previous = this.#directory.ofPeer(introduction.id)
    if (previous !== undefined) {
      this.#end(previous, new SchedulerError('REPLACED', 'the same node opened another stream'))
    }
    const index = this.core.nodeUp(introduction)
    this.traffic.nodeUp(index, this.core.node(index).zone)
    const session = new Session(call, this.#nextNumber++, index, introduction, this.#sessionEvents)
    const bootstrap = this.#directory.bootstrap(introduction.isLocal)
    this.#directory.add(session)
    const uptimeMs = Math.round(this.#presence.ms)
    const abilities = { readsBatches: true, answersPings: true, hearsLeaseProgress: true, pieceRule: PIECE_RULE }
    session.tell({ $case: 'welcome', value: { schedulerId: this.id, bootstrap, uptimeMs, ...abilities } })
    this.#originBudget.greet(session)
    const { id: peerId, name, role, version, laneHost } = introduction
    this.#log.info({ peerId, name, role, version, address: session.address, laneHost }, 'node connected')
    this.#warnOfConfined(session)
    return session
  }

  /** Says which nodes no other machine can reach, as soon as there is a node on another machine. */
  #warnOfConfined(newcomer: Session): void {
    const others = this.#directory.all.filter((session) => session !== newcomer)
    const isFirstOutside = !newcomer.introduction.isLocal && others.every(({ introduction }) => introduction.isLocal)
    const isOneInside = newcomer.introduction.isConfined && others.some(({ introduction }) => !introduction.isLocal)
    for (const { introduction } of isFirstOutside ? others : isOneInside ? [newcomer] : []) {
      const { id: peerId, name } = introduction
      if (introduction.isConfined) this.#log.warn({ peerId, name }, UNREACHABLE_NODE)
    }
  }

  #end(session: Session, error?: SchedulerError): void {
    if (!this.#directory.delete(session)) return
    if (this.#directory.all.length === 0) this.#presence.deserted()
    const { id: peerId, name } = session.introduction
    if (error === undefined) this.#log.info({ peerId, name }, 'node disconnected')
    else {
      this.#metrics.drops.inc({ code: error.code })
      this.#log.warn({ peerId, name, code: error.code, reason: error.message }, 'node dropped')
    }
    for (const other of this.#directory.all) other.parents.delete(session.index)
    this.core.setTime(performance.now())
    this.core.nodeDown(session.index)
    this.traffic.nodeDown(session.index)
    session.end(error)
    this.#wake()
  }

  #tick(): number | undefined {
    const startedAt = performance.now()
    this.core.setTime(startedAt)
    const commands = this.core.tick()
    this.#originBudget.share(this.core, commands.lessees, (node) => this.#directory.find(node))
    for (const { node, digest, why } of commands.revocations) {
      const { id: peerId, name } = this.#sessionAt(node).introduction
      this.#log.warn({ peerId, name, digest }, REVOKED[why])
    }
    for (const { node, reason } of commands.refusals) {
      const { id: peerId, name } = this.#sessionAt(node).introduction
      this.#log.warn({ peerId, name, reason }, 'something that a node said was not taken')
    }
    deliver(this.core, commands, this.#sessionAt)
    for (const swarm of commands.closed) for (const session of this.#directory.all) session.swarms.delete(swarm)
    const waiting = this.#waiting
    this.#waiting = []
    for (const session of waiting) if (session.flush()) this.messages.out++
    const now = performance.now()
    this.#metrics.tickSeconds.observe((now - startedAt) / 1000)
    return this.#waiting.length > 0 ? now : this.core.dueAt()
  }

  #wake(): void {
    if (!this.#isStopped) this.#ticker.wake()
  }

  #indexOf(parent: number): number | undefined {
    if (parent < 1 || parent >= this.#nextNumber) throw violation(`parent ${parent} was not named on this stream`)
    return this.#directory.indexOfNumber(parent)
  }

  /** The error to end a stream with. One that is not the node's fault is logged with its stack: it is ours. */
  #failure(error: unknown): SchedulerError {
    if (error instanceof SchedulerError) return error
    this.#log.error({ err: error }, 'an event could not be applied')
    return new SchedulerError('INTERNAL', `the scheduler could not apply an event: ${errorChain(error)}`)
  }
}
