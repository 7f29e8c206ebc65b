import { bound, type Scenario } from './scenario.ts'

/** What one run comes to. Times are ratios to T*; copies are of the whole blob. */
export interface Result {
  readonly nodes: number
  readonly pieces: number
  /** Of the nodes of full rate that lived: from arrival to the last piece. */
  readonly p50: number
  readonly p99: number
  readonly max: number
  readonly seedCopies: number
  readonly crossZoneCopies: number
  /** Prefix over pieces held, the mean over all arrivals of a piece. */
  readonly inOrder: number
  /** From arrival to the first piece of the blob. */
  readonly firstPieceP50: number
  readonly assignments: number
  /** Batches from nodes to the scheduler and back, where there is one. */
  readonly messages: number
  /** CPU time of the scheduling core, and the part of it that selects who sends what to whom; null: there is no core. */
  readonly nsPerAssignment: number | null
  readonly selectionNsPerAssignment: number | null
  /** The same as `max`, of the slow nodes; only where there are any. */
  readonly slowMax?: number
}

/** Who holds what, since when, and what was sent to get there. */
export class Tally {
  readonly scenario: Scenario
  readonly words: number
  readonly have: Uint32Array
  readonly haveCount: Int32Array
  readonly arrivedAt: Float64Array
  readonly isGone: Uint8Array
  readonly isHere: Uint8Array
  readonly #completeAt: Float64Array
  readonly #firstAt: Float64Array
  readonly #prefix: Int32Array
  /** Nodes of which something is still to be expected. */
  waiting: number
  assignments = 0
  messages = 0
  /** CPU time of the core: hearing what happened, selecting what follows. */
  core: { reportsMs: number; selectionMs: number } | undefined
  seedPieces = 0
  crossZonePieces = 0
  #orderSum = 0
  #orderCount = 0

  constructor(scenario: Scenario) {
    const { nodes, pieces } = scenario
    this.scenario = scenario
    this.words = (pieces + 31) >>> 5
    this.have = new Uint32Array((nodes + 1) * this.words)
    this.haveCount = new Int32Array(nodes + 1)
    this.arrivedAt = new Float64Array(nodes + 1)
    this.isGone = new Uint8Array(nodes + 1)
    this.isHere = new Uint8Array(nodes + 1)
    this.#completeAt = new Float64Array(nodes + 1).fill(-1)
    this.#firstAt = new Float64Array(nodes + 1).fill(-1)
    this.#prefix = new Int32Array(nodes + 1)
    this.waiting = nodes
    this.isHere[nodes] = 1
    for (let piece = 0; piece < pieces; piece++) this.#set(nodes, piece)
  }

  zoneOf(node: number): number {
    return node === this.scenario.nodes ? 0 : node % this.scenario.zones
  }

  has(node: number, piece: number): boolean {
    return (((this.have[node * this.words + (piece >>> 5)] as number) >>> (piece & 31)) & 1) === 1
  }

  /** The node has the piece from the parent now. */
  gained(node: number, piece: number, parent: number, now: number): void {
    if (this.has(node, piece)) return
    this.#set(node, piece)
    if (parent === this.scenario.nodes) this.seedPieces++
    if (this.zoneOf(parent) !== this.zoneOf(node)) this.crossZonePieces++
    if (piece === 0) this.#firstAt[node] = now
    let prefix = this.#prefix[node] as number
    while (prefix < this.scenario.pieces && this.has(node, prefix)) prefix++
    this.#prefix[node] = prefix
    this.#orderSum += prefix / (this.haveCount[node] as number)
    this.#orderCount++
    if (this.haveCount[node] !== this.scenario.pieces) return
    this.#completeAt[node] = now
    this.waiting--
  }

  died(node: number): void {
    if (this.#completeAt[node] === -1) this.waiting--
    this.isGone[node] = 1
    this.isHere[node] = 0
  }

  result(rates: Float64Array): Result {
    const { scenario } = this
    const { nodes, pieces, slow } = scenario
    const { core } = this
    const perAssignment = (ms: number) => (ms * 1e6) / this.assignments
    const tStar = bound(scenario)
    const times: number[] = []
    const slowTimes: number[] = []
    const firsts: number[] = []
    for (let node = 0; node < nodes; node++) {
      if (this.isGone[node] === 1) continue
      const time = ((this.#completeAt[node] as number) - (this.arrivedAt[node] as number)) / tStar
      if (rates[node] === 1) times.push(time)
      else slowTimes.push(time)
      if (rates[node] === 1) firsts.push(((this.#firstAt[node] as number) - (this.arrivedAt[node] as number)) / tStar)
    }
    return {
      nodes,
      pieces,
      p50: quantile(times, 0.5),
      p99: quantile(times, 0.99),
      max: quantile(times, 1),
      seedCopies: this.seedPieces / pieces,
      crossZoneCopies: this.crossZonePieces / pieces,
      inOrder: this.#orderSum / this.#orderCount,
      firstPieceP50: quantile(firsts, 0.5),
      assignments: this.assignments,
      messages: this.messages,
      nsPerAssignment: core === undefined ? null : perAssignment(core.reportsMs + core.selectionMs),
      selectionNsPerAssignment: core === undefined ? null : perAssignment(core.selectionMs),
      ...(slow > 0 ? { slowMax: quantile(slowTimes, 1) } : {}),
    }
  }

  #set(node: number, piece: number): void {
    const at = node * this.words + (piece >>> 5)
    this.have[at] = (this.have[at] as number) | (1 << (piece & 31))
    this.haveCount[node] = (this.haveCount[node] as number) + 1
  }
}

/** The smallest value that at least this part of the values does not exceed. */
function quantile(values: number[], part: number): number {
  if (values.length === 0) return 0
  values.sort((a, b) => a - b)
  return values[Math.max(0, Math.ceil(part * values.length) - 1)] as number
}
