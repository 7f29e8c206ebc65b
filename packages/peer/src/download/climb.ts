import type { Logger } from '@shoal/core'
import {
  type LadderOptions,
  type LadderView,
  nextStanding,
  type Rung,
  type Standing,
  standingAfterOriginFailed,
} from './ladder.ts'
import type { DownloadMetrics } from './metrics.ts'

/** What the log says when a download moves to a rung. */
const STEPS: Readonly<Record<Rung, string>> = {
  scheduler: 'the scheduler is back; waiting for its assignments',
  holders: 'fetching from holders that the DHT names',
  rendezvous: 'no holder found; a node nearest to the digest is to fetch from the origin',
  origin: 'fetching from the origin directly',
}

/** One download's way on the ladder (ladder.ts): where it stands, each step logged, counted and told. */
export class Climb {
  readonly #digest: string
  readonly #options: LadderOptions
  readonly #log: Logger
  readonly #metrics: Pick<DownloadMetrics, 'ladderSteps' | 'fallbacks'>
  readonly #stepped: (rung: Rung) => void
  #standing: Standing

  constructor(
    digest: string,
    options: LadderOptions,
    dependencies: {
      log: Logger
      metrics: Pick<DownloadMetrics, 'ladderSteps' | 'fallbacks'>
      now: () => number
      /** Told the rung that was just stepped on. */
      stepped: (rung: Rung) => void
    },
  ) {
    this.#digest = digest
    this.#options = options
    this.#log = dependencies.log
    this.#metrics = dependencies.metrics
    this.#stepped = dependencies.stepped
    this.#standing = { rung: 'scheduler', sinceMs: dependencies.now() }
  }

  get rung(): Rung {
    return this.#standing.rung
  }

  /** Moves if it is time to. */
  move(view: LadderView): void {
    this.#stand(nextStanding(this.#standing, view, this.#options))
  }

  /** Moves because the origin failed on the last rung; false: there is nowhere to go, the download has failed. */
  moveFromOrigin(view: LadderView): boolean {
    const standing = standingAfterOriginFailed(this.#standing, view)
    if (standing !== undefined) this.#stand(standing)
    return standing !== undefined
  }

  #stand(standing: Standing): void {
    const { rung, reason } = standing
    const hasMoved = rung !== this.#standing.rung
    this.#standing = standing
    if (!hasMoved) return
    this.#metrics.ladderSteps.inc({ rung })
    if (rung === 'origin' && reason !== undefined) this.#metrics.fallbacks.inc({ reason })
    this.#log[rung === 'origin' ? 'warn' : 'info']({ digest: this.#digest, reason }, STEPS[rung])
    this.#stepped(rung)
  }
}
