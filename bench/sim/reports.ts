export const DONE = 0
export const ENDING = 1
export const JOIN = 2
export const GONE = 3

const STRIDE = 4
const FIRST_CAPACITY = 1024

/** Reports that have arrived, in the order in which they were sent: kind, node, piece and parent of each, and its duration. */
export class Arrivals {
  count = 0
  #fields = new Int32Array(FIRST_CAPACITY * STRIDE)
  #durations = new Float64Array(FIRST_CAPACITY)

  kind(i: number): number {
    return this.#fields[i * STRIDE] as number
  }

  node(i: number): number {
    return this.#fields[i * STRIDE + 1] as number
  }

  piece(i: number): number {
    return this.#fields[i * STRIDE + 2] as number
  }

  parent(i: number): number {
    return this.#fields[i * STRIDE + 3] as number
  }

  duration(i: number): number {
    return this.#durations[i] as number
  }

  /** Replaces all by those of a list of rows: the fields, then the duration. */
  fill(rows: readonly number[]): void {
    this.count = rows.length / (STRIDE + 1)
    if (this.count > this.#durations.length) {
      this.#fields = new Int32Array(this.count * 2 * STRIDE)
      this.#durations = new Float64Array(this.count * 2)
    }
    for (let i = 0, at = 0; i < this.count; i++) {
      for (let field = 0; field < STRIDE; field++) this.#fields[i * STRIDE + field] = rows[at++] as number
      this.#durations[i] = rows[at++] as number
    }
  }
}

/** Reports on their way, by the tick that they are in time for. */
export class Reports {
  readonly #ticks = new Map<number, number[]>()
  readonly #spare: number[][] = []
  readonly #arrivals = new Arrivals()

  add(tick: number, kind: number, node: number, piece: number, parent: number, duration: number): void {
    let reports = this.#ticks.get(tick)
    if (reports === undefined) {
      reports = this.#spare.pop() ?? []
      this.#ticks.set(tick, reports)
    }
    reports.push(kind, node, piece, parent, duration)
  }

  /** Takes out all that are in time for this tick. Valid until the next call. */
  take(tick: number): Arrivals {
    const reports = this.#ticks.get(tick) ?? []
    this.#arrivals.fill(reports)
    if (this.#ticks.delete(tick)) {
      reports.length = 0
      this.#spare.push(reports)
    }
    return this.#arrivals
  }
}
