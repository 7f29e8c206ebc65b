/** How many questions a node may ask. */
export interface QuestionRateOptions {
  /** Of one node at once, after a while without any. */
  readonly burst: number
  /** Of one node in the long run. */
  readonly perSecond: number
  /** Nodes that are remembered; who was quiet for longest is forgotten first. */
  readonly maxNodes: number
}

/** Turns away nodes that ask too much: a token bucket for each. */
export class QuestionRate {
  readonly #options: QuestionRateOptions
  /** In the order of their last question. */
  readonly #nodes = new Map<string, { tokens: number; atMs: number }>()

  constructor(options: QuestionRateOptions) {
    this.#options = options
  }

  /** Whether a node may ask now. `nowMs` is of a clock that does not step back. */
  take(peerId: string, nowMs: number): boolean {
    const { burst, perSecond, maxNodes } = this.#options
    const known = this.#nodes.get(peerId)
    const tokens =
      known === undefined ? burst : Math.min(burst, known.tokens + ((nowMs - known.atMs) * perSecond) / 1000)
    const mayAsk = tokens >= 1
    this.#nodes.delete(peerId)
    this.#nodes.set(peerId, { tokens: mayAsk ? tokens - 1 : tokens, atMs: nowMs })
    const [quietest] = this.#nodes.keys()
    if (this.#nodes.size > maxNodes && quietest !== undefined) this.#nodes.delete(quietest)
    return mayAsk
  }
}
