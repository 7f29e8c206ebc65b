export type ReportKind = 'done' | 'ending' | 'join' | 'gone'

const KINDS: readonly ReportKind[] = ['done', 'ending', 'join', 'gone']
const STRIDE = 5

/** Takes a report that has arrived. */
export interface Receiver {
  apply(kind: ReportKind, node: number, piece: number, parent: number, duration: number): void
}

/** Reports on their way, by the tick that they are in time for. */
export class Reports {
  readonly #ticks = new Map<number, number[]>()
  readonly #spare: number[][] = []

  add(tick: number, kind: ReportKind, node: number, piece: number, parent: number, duration: number): void {
    let reports = this.#ticks.get(tick)
    if (reports === undefined) {
      reports = this.#spare.pop() ?? []
      this.#ticks.set(tick, reports)
    }
    reports.push(KINDS.indexOf(kind), node, piece, parent, duration)
  }

  /** Hands over all that are in time for this tick, in the order in which they were sent. */
  drain(tick: number, receiver: Receiver): void {
    const reports = this.#ticks.get(tick)
    if (reports === undefined) return
    for (let at = 0; at < reports.length; at += STRIDE) {
      receiver.apply(
        KINDS[reports[at] as number] as ReportKind,
        reports[at + 1] as number,
        reports[at + 2] as number,
        reports[at + 3] as number,
        reports[at + 4] as number,
      )
    }
    this.#ticks.delete(tick)
    reports.length = 0
    this.#spare.push(reports)
  }
}
