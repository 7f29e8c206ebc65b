import { EventQueue } from './event-queue.ts'
import { Links } from './links.ts'
import { type Incident, plan, type Scenario } from './scenario.ts'
import { Tally } from './tally.ts'

/** A transfer's size differs from a piece's by up to so much. */
const JITTER = 0.1
const HANG_WORK = 50
const FIRST_CAPACITY = 1024
/** No run takes so many times the slowest bound: something waits for what never comes. */
const MOST_TIME = 200

const FREE = 0
const ASKED = 1
const WAITING = 2
const FLOWING = 3
const LOST = 4

/** Decides who asks whom for what, told what happens. */
export interface Policy {
  /** Sends of a holder at once; who asks beyond waits in line. */
  slotsOf(holder: number): number
  /** How long before a transfer's end `ending` is called; negative: not at all. */
  readonly notice: number
  arrived(node: number): void
  done(transfer: number): void
  ending(transfer: number): void
  /** The node has been dead for a while. */
  missed(node: number): void
  /** When `tick` is to be called next. */
  readonly nextAt: number
  tick(): void
}

/** The nodes, their links, and what is on its way: the model of SCHEDULING.md. Transfers are numbered, small numbers again and again. */
export class World {
  readonly scenario: Scenario
  readonly random: () => number
  readonly rates: Float64Array
  readonly tally: Tally
  now = 0
  childOf = new Int32Array(FIRST_CAPACITY)
  parentOf = new Int32Array(FIRST_CAPACITY)
  /** -1: the whole blob. */
  pieceOf = new Int32Array(FIRST_CAPACITY)
  askedAt = new Float64Array(FIRST_CAPACITY)
  #state = new Uint8Array(FIRST_CAPACITY)
  #after = new Int32Array(FIRST_CAPACITY)
  #end = 0
  readonly #free: number[] = []
  readonly #links: Links
  readonly #starts = new EventQueue()
  readonly #incidents: readonly Incident[]
  /** Transfers of each holder that flow, and the line of those that wait. */
  readonly #serving: Int32Array
  readonly #lineHead: Int32Array
  readonly #lineTail: Int32Array
  #policy: Pick<Policy, 'slotsOf' | 'notice'> = { slotsOf: () => 1, notice: -1 }

  constructor(scenario: Scenario, random: () => number) {
    const { rates, incidents } = plan(scenario, random)
    this.scenario = scenario
    this.random = random
    this.rates = rates
    this.#incidents = incidents
    this.tally = new Tally(scenario)
    this.#links = new Links(rates)
    this.#serving = new Int32Array(rates.length)
    this.#lineHead = new Int32Array(rates.length).fill(-1)
    this.#lineTail = new Int32Array(rates.length).fill(-1)
  }

  /** A time that varies by half. */
  jittered(time: number): number {
    return time * (0.5 + this.random())
  }

  /** Has `child` ask `parent` for a piece (-1: for the whole blob) after so long. Returns the transfer. */
  request(child: number, parent: number, piece: number, delay: number): number {
    const transfer = this.#free.pop() ?? this.#end++
    if (transfer >= this.#state.length) this.#grow()
    this.childOf[transfer] = child
    this.parentOf[transfer] = parent
    this.pieceOf[transfer] = piece
    this.askedAt[transfer] = this.now + delay
    this.#state[transfer] = ASKED
    this.#starts.set(transfer, this.now + delay)
    this.tally.assignments++
    return transfer
  }

  /** Forgets a transfer, which frees its number. */
  cancel(transfer: number): void {
    const parent = this.parentOf[transfer] as number
    const state = this.#state[transfer]
    this.#state[transfer] = FREE
    if (state === ASKED) this.#starts.delete(transfer)
    if (state === WAITING) this.#leaveLine(transfer, parent)
    if (state === FLOWING) {
      this.#links.stop(transfer, this.now)
      this.#serve(parent)
    }
    this.#free.push(transfer)
  }

  /** Forgets all transfers for which `is` holds. */
  cancelWhere(is: (transfer: number) => boolean): void {
    for (let transfer = 0; transfer < this.#end; transfer++) {
      if (this.#state[transfer] !== FREE && is(transfer)) this.cancel(transfer)
    }
  }

  /** Runs until every node that lives has the blob. */
  run(policy: Policy): void {
    this.#policy = policy
    const links = this.#links
    const most = MOST_TIME * this.scenario.pieces * Math.max(1, this.scenario.nodes / 8)
    let incident = 0
    while (this.tally.waiting > 0) {
      const nextIncident = this.#incidents[incident]?.at ?? Number.POSITIVE_INFINITY
      const now = Math.min(links.nextAt, this.#starts.nextAt, nextIncident, policy.nextAt)
      if (now > most) throw new Error(`${this.tally.waiting} nodes never get the blob`)
      this.now = now
      if (now === links.nextAt) this.#flowChanged(policy)
      else if (now === this.#starts.nextAt) this.#asked(this.#starts.pop())
      else if (now === nextIncident) this.#happened(this.#incidents[incident++] as Incident, policy)
      else policy.tick()
    }
  }

  #flowChanged(policy: Policy): void {
    const change = this.#links.next(this.now)
    if (change === undefined) return
    const { flow, isEnd } = change
    if (!isEnd) {
      policy.ending(flow)
      return
    }
    const child = this.childOf[flow] as number
    const parent = this.parentOf[flow] as number
    const piece = this.pieceOf[flow] as number
    this.#links.stop(flow, this.now)
    this.#state[flow] = LOST
    this.#serve(parent)
    if (piece >= 0) this.tally.gained(child, piece, parent, this.now)
    else for (let i = 0; i < this.scenario.pieces; i++) this.tally.gained(child, i, parent, this.now)
    policy.done(flow)
    if (this.#state[flow] === LOST) {
      this.#state[flow] = FREE
      this.#free.push(flow)
    }
  }

  #asked(transfer: number): void {
    const parent = this.parentOf[transfer] as number
    if (this.tally.isHere[parent] === 0 || this.tally.isHere[this.childOf[transfer] as number] === 0) {
      this.#state[transfer] = LOST
      return
    }
    this.#state[transfer] = WAITING
    this.#after[transfer] = -1
    const tail = this.#lineTail[parent] as number
    if (tail >= 0) this.#after[tail] = transfer
    else this.#lineHead[parent] = transfer
    this.#lineTail[parent] = transfer
    this.#serveNext(parent)
  }

  #happened(incident: Incident, policy: Policy): void {
    const { node } = incident
    if (incident.kind === 'arrives') {
      this.tally.isHere[node] = 1
      this.tally.arrivedAt[node] = this.now
      policy.arrived(node)
      return
    }
    if (incident.kind === 'missed') {
      policy.missed(node)
      return
    }
    this.tally.died(node)
    for (let transfer = 0; transfer < this.#end; transfer++) {
      const state = this.#state[transfer]
      if (state !== WAITING && state !== FLOWING) continue
      const parent = this.parentOf[transfer] as number
      if (parent !== node && this.childOf[transfer] !== node) continue
      this.#state[transfer] = LOST
      if (state === WAITING) this.#leaveLine(transfer, parent)
      else {
        this.#links.stop(transfer, this.now)
        this.#serve(parent)
      }
    }
  }

  #serve(parent: number): void {
    this.#serving[parent] = (this.#serving[parent] as number) - 1
    this.#serveNext(parent)
  }

  #serveNext(parent: number): void {
    if (this.tally.isHere[parent] === 0) return
    while (
      (this.#lineHead[parent] as number) >= 0 &&
      (this.#serving[parent] as number) < this.#policy.slotsOf(parent)
    ) {
      this.#begin(parent)
    }
  }

  #begin(parent: number): void {
    const transfer = this.#lineHead[parent] as number
    const next = this.#after[transfer] as number
    this.#lineHead[parent] = next
    if (next < 0) this.#lineTail[parent] = -1
    this.#serving[parent] = (this.#serving[parent] as number) + 1
    this.#state[transfer] = FLOWING
    const { hang, pieces } = this.scenario
    let work = 1 + JITTER * (2 * this.random() - 1)
    if (hang > 0 && this.random() < hang) work = HANG_WORK
    if ((this.pieceOf[transfer] as number) < 0) work *= pieces
    this.#links.start(transfer, parent, this.childOf[transfer] as number, work, this.#policy.notice, this.now)
  }

  #leaveLine(transfer: number, parent: number): void {
    let before = -1
    for (let at = this.#lineHead[parent] as number; at >= 0; at = this.#after[at] as number) {
      if (at === transfer) {
        const next = this.#after[at] as number
        if (before < 0) this.#lineHead[parent] = next
        else this.#after[before] = next
        if (next < 0) this.#lineTail[parent] = before
        return
      }
      before = at
    }
  }

  #grow(): void {
    const size = this.#state.length * 2
    const grown = <T extends { set(from: T): void }>(from: T, into: T): T => {
      into.set(from)
      return into
    }
    this.childOf = grown(this.childOf, new Int32Array(size))
    this.parentOf = grown(this.parentOf, new Int32Array(size))
    this.pieceOf = grown(this.pieceOf, new Int32Array(size))
    this.askedAt = grown(this.askedAt, new Float64Array(size))
    this.#state = grown(this.#state, new Uint8Array(size))
    this.#after = grown(this.#after, new Int32Array(size))
  }
}
