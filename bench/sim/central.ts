import { HaveSet } from '@shoal/core'
import { type Commands, GONE as NO_PARENT, Random, SchedulingCore } from '@shoal/scheduler'
import { sizeOfPieces } from '../kit/size-of-pieces.ts'
import { type Arrivals, DONE, ENDING, GONE, JOIN, Reports } from './reports.ts'
import type { Policy, World } from './world.ts'

/** Milliseconds that the core is told a piece time lasts: with it the tick is the service's default of 5 ms. */
const PIECE_MS = 50
/** Of piece times. */
const TICK = 0.1
/** Slots that a node of rate 1 announces, the node's default. */
const SLOTS = 16
const DIGEST = `sha256:${'a'.repeat(64)}`
const ORIGIN = { registry: 'registry.test', repository: 'blob' }

/** Policy F: the production scheduling core, told by reports that take a latency and are gathered for a tick. */
export class Central implements Policy {
  readonly notice: number
  nextAt = 0
  readonly #world: World
  readonly #core: SchedulingCore
  readonly #reports = new Reports()
  readonly #indexOf: Int32Array
  readonly #nodeOf: number[] = []
  readonly #cost = { reportsMs: 0, selectionMs: 0 }
  #swarm = 0
  #tick = 0
  /** Pieces that were assigned to each node, as `have`; those assigned twice, by `node * pieces + piece`. */
  readonly #asked: Uint32Array
  readonly #hedged = new Set<number>()
  readonly #reportedIn: Int32Array
  readonly #toldIn: Int32Array

  constructor(world: World) {
    const { nodes, pieces, latency, seed } = world.scenario
    this.#world = world
    this.notice = 3 * latency + TICK / 2
    this.#core = new SchedulingCore(
      { leaseStallMs: 3_600_000, assignmentTimeoutMs: 3_600_000 },
      new Random(seed + 0x5eed),
    )
    this.#indexOf = new Int32Array(nodes + 1).fill(-1)
    this.#asked = new Uint32Array((nodes + 1) * world.tally.words)
    this.#reportedIn = new Int32Array(nodes + 1).fill(-1)
    this.#toldIn = new Int32Array(nodes + 1).fill(-1)
    world.tally.core = this.#cost
    this.#core.setTime(0)
    this.#up(nodes)
    this.#core.holding(this.#indexOf[nodes] as number, DIGEST, sizeOfPieces(pieces))
  }

  slotsOf(holder: number): number {
    const { slots } = this.#core.swarm(this.#swarm)
    return holder === this.#world.scenario.nodes ? Math.round(slots * this.#world.scenario.seedRate) : slots
  }

  arrived(node: number): void {
    this.#report(node, JOIN, 0, 0, 0)
  }

  ending(transfer: number): void {
    const { childOf, pieceOf, parentOf } = this.#world
    this.#report(childOf[transfer] as number, ENDING, pieceOf[transfer] as number, parentOf[transfer] as number, 0)
  }

  done(transfer: number): void {
    const { childOf, pieceOf, parentOf, askedAt, now, scenario } = this.#world
    const child = childOf[transfer] as number
    const piece = pieceOf[transfer] as number
    const parent = parentOf[transfer] as number
    this.#report(child, DONE, piece, parent, now - (askedAt[transfer] as number))
    if (!this.#hedged.delete(child * scenario.pieces + piece)) return
    this.#world.cancelWhere((t) => t !== transfer && childOf[t] === child && pieceOf[t] === piece)
  }

  missed(node: number): void {
    const { childOf, parentOf, pieceOf } = this.#world
    this.#world.cancelWhere((transfer) => {
      if (childOf[transfer] !== node && parentOf[transfer] !== node) return false
      this.#forgetAsked(childOf[transfer] as number, pieceOf[transfer] as number)
      return true
    })
    this.#reports.add(this.#tick, GONE, node, 0, 0, 0)
  }

  tick(): void {
    const core = this.#core
    const arrivals = this.#reports.take(this.#tick)
    const begun = process.threadCpuUsage()
    core.setTime(this.nextAt * PIECE_MS)
    for (let i = 0; i < arrivals.count; i++) this.#apply(arrivals, i)
    const told = process.threadCpuUsage()
    const commands = core.tick()
    this.#cost.reportsMs += msBetween(begun, told)
    this.#cost.selectionMs += msBetween(told, process.threadCpuUsage())
    this.#obey(commands)
    this.#tick++
    this.nextAt = this.#tick * TICK
  }

  #apply(arrivals: Arrivals, i: number): void {
    const core = this.#core
    const node = arrivals.node(i)
    const index = this.#indexOf[node] as number
    const piece = arrivals.piece(i)
    switch (arrivals.kind(i)) {
      case DONE: {
        const parent = this.#parent(arrivals.parent(i))
        core.pieceDone(index, this.#swarm, piece, parent, undefined, arrivals.duration(i) * PIECE_MS)
        return
      }
      case ENDING:
        core.pieceEnding(index, this.#swarm, piece, this.#parent(arrivals.parent(i)))
        return
      case JOIN:
        this.#join(node)
        return
      case GONE:
        core.nodeDown(index)
        this.#indexOf[node] = -1
    }
  }

  #join(node: number): void {
    this.#up(node)
    const { pieces } = this.#world.scenario
    this.#swarm = this.#core.join(this.#indexOf[node] as number, {
      digest: DIGEST,
      sizeBytes: sizeOfPieces(pieces),
      have: new HaveSet(pieces),
      origin: ORIGIN,
      priority: 1,
    })
  }

  #up(node: number): void {
    const isSeed = node === this.#world.scenario.nodes
    const slots = Math.round(SLOTS * (isSeed ? this.#world.scenario.seedRate : 1))
    const { zones } = this.#world.scenario
    const index = this.#core.nodeUp({
      id: `node-${node}`,
      role: isSeed ? 'seed' : 'peer',
      uploadSlots: slots,
      downloadSlots: slots,
      labels: zones > 1 ? { zone: `zone-${this.#world.tally.zoneOf(node)}` } : {},
    })
    this.#indexOf[node] = index
    this.#nodeOf[index] = node
  }

  #parent(node: number): number {
    const index = this.#indexOf[node] as number
    return index < 0 ? NO_PARENT : index
  }

  #obey(commands: Commands): void {
    const { assignments, cancellations, maps } = commands
    for (let at = 0; at < cancellations.count; at++) {
      const child = this.#nodeOf[cancellations.child(at)] as number
      const parent = this.#nodeOf[cancellations.parent(at)] as number
      const piece = cancellations.piece(at)
      const { childOf, parentOf, pieceOf } = this.#world
      this.#world.cancelWhere((t) => childOf[t] === child && pieceOf[t] === piece && parentOf[t] === parent)
      this.#forgetAsked(child, piece)
    }
    for (let at = 0; at < assignments.count; at++) {
      const child = this.#nodeOf[assignments.child(at)] as number
      const parent = this.#nodeOf[assignments.parent(at)] as number
      const piece = assignments.piece(at)
      if (this.#toldIn[child] !== this.#tick) this.#world.tally.messages++
      this.#toldIn[child] = this.#tick
      // A piece that came while its hedge was on the way is not asked for again.
      if (this.#world.tally.has(child, piece)) continue
      const word = child * this.#world.tally.words + (piece >>> 5)
      const bit = 1 << (piece & 31)
      if (((this.#asked[word] as number) & bit) !== 0) this.#hedged.add(child * this.#world.scenario.pieces + piece)
      this.#asked[word] = (this.#asked[word] as number) | bit
      this.#world.request(child, parent, piece, this.#world.jittered(2 * this.#world.scenario.latency))
    }
    for (const { node } of maps) {
      const { pieces } = this.#world.scenario
      this.#core.pieceMap(node, DIGEST, sizeOfPieces(pieces), new Uint8Array(pieces * 32).fill(1))
    }
  }

  #forgetAsked(child: number, piece: number): void {
    const word = child * this.#world.tally.words + (piece >>> 5)
    this.#asked[word] = (this.#asked[word] as number) & ~(1 << (piece & 31))
  }

  #report(node: number, kind: number, piece: number, parent: number, duration: number): void {
    const { now, scenario, tally } = this.#world
    const tick = Math.max(this.#tick, Math.ceil((now + this.#world.jittered(scenario.latency)) / TICK))
    this.#reports.add(tick, kind, node, piece, parent, duration)
    if (this.#reportedIn[node] !== tick) tally.messages++
    this.#reportedIn[node] = tick
  }
}

function msBetween(before: NodeJS.CpuUsage, after: NodeJS.CpuUsage): number {
  return (after.user - before.user + after.system - before.system) / 1000
}
