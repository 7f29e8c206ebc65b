import type { Logger } from '@shoal/core'

/** Pieces that wait to be looked at; further reports are dropped. */
const MAX_WAITING = 64
/** A piece that was right is not looked at again for so long, whoever says what. */
const RIGHT_FOR_MS = 60_000
const MAX_REMEMBERED = 4096

/**
 * Pieces that a neighbour threw away because they were wrong when they came. Each is looked at on this node's disk, one
 * after the other: a true report has the blob given up before others are sent the same bytes, a false one costs a hash of
 * one piece a minute.
 */
export class Rejections {
  readonly #recheck: (digest: string, piece: number, signal: AbortSignal) => Promise<boolean>
  readonly #now: () => number
  readonly #log: Logger
  readonly #stopping = new AbortController()
  readonly #waiting = new Map<string, { readonly digest: string; readonly piece: number; readonly peerId: string }>()
  /** When pieces were found to be right. */
  readonly #right = new Map<string, number>()
  #running: Promise<void> | undefined

  constructor(dependencies: {
    /** Resolves to whether the piece is right on the disk. */
    recheck: (digest: string, piece: number, signal: AbortSignal) => Promise<boolean>
    /** Milliseconds of a clock that does not step back. */
    now: () => number
    log: Logger
  }) {
    this.#recheck = dependencies.recheck
    this.#now = dependencies.now
    this.#log = dependencies.log
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    this.#stopping.abort()
    this.#waiting.clear()
    await this.#running
  }

  /** A peer says that a piece was wrong when it came from this node. */
  add(digest: string, piece: number, peerId: string): void {
    const key = `${digest} ${piece}`
    const rightMs = this.#right.get(key)
    if (rightMs !== undefined && this.#now() - rightMs < RIGHT_FOR_MS) return
    if (this.#stopping.signal.aborted || this.#waiting.size >= MAX_WAITING) return
    this.#waiting.set(key, { digest, piece, peerId })
    this.#running ??= this.#run().finally(() => {
      this.#running = undefined
    })
  }

  async #run(): Promise<void> {
    for (const [key, { digest, piece, peerId }] of this.#waiting) {
      try {
        const isRight = await this.#recheck(digest, piece, this.#stopping.signal)
        const what = { digest, piece, peer: peerId }
        if (isRight) this.#remember(key)
        else this.#log.error(what, 'a neighbour rejected a piece, and it is damaged on the disk; check the disk')
      } catch (error) {
        if (!this.#stopping.signal.aborted)
          this.#log.warn({ digest, piece, err: error }, 'a rejected piece cannot be checked')
      }
      this.#waiting.delete(key)
    }
  }

  #remember(key: string): void {
    this.#right.delete(key)
    this.#right.set(key, this.#now())
    const [oldest] = this.#right.keys()
    if (this.#right.size > MAX_REMEMBERED && oldest !== undefined) this.#right.delete(oldest)
  }
}
