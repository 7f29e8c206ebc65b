import { BackgroundLoop, type Digest, errorChain, type Logger, pause, type Startable } from '@shoal/core'
import type { ContentUses } from '../storage/content-uses.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { Hold, Turns } from '../storage/turns.ts'
import { type Collected, Collection, type Retention } from './collection.ts'
import type { References } from './liveness.ts'
import type { GcMetrics } from './metrics.ts'
import type { GcOptions } from './options.ts'

const HOUR_MS = 3_600_000

interface GarbageCollectorDependencies {
  readonly driver: StorageDriver
  readonly uses: ContentUses
  readonly turns: Pick<Turns, 'take'>
  /** Has it to itself that somebody collects; undefined when somebody else does. */
  readonly hold: () => Promise<Hold | undefined>
  readonly retention?: Retention | undefined
  /** What a manifest names. */
  readonly references: (digest: Digest) => Promise<References | undefined>
  /** Told of repositories that lose a blob. */
  readonly unlinked: (repository: string) => void
  readonly metrics: GcMetrics
  readonly log: Logger
}

/** One collection, as an operator sees it. */
export interface CollectionView extends Collected {
  readonly state: 'running' | 'done' | 'failed' | 'stopped'
  readonly isDryRun: boolean
  /** RFC 3339. */
  readonly startedAt: string
  readonly endedAt?: string
  readonly reason?: string
}

interface Run {
  readonly collection: Collection
  readonly isDryRun: boolean
  readonly startedAtMs: number
  readonly abort: AbortController
  state: CollectionView['state']
  endedAtMs?: number
  reason?: string
  done: Promise<void>
}

/** Collects from time to time and when told to; one collection at a time. */
export class GarbageCollector implements Startable {
  readonly #options: GcOptions
  readonly #dependencies: GarbageCollectorDependencies
  #last: Run | undefined
  readonly #loop = new BackgroundLoop((signal) => this.#collectAgainAndAgain(signal))

  constructor(options: GcOptions, dependencies: GarbageCollectorDependencies) {
    this.#options = options
    this.#dependencies = dependencies
  }

  start(): Promise<void> {
    return this.#loop.start()
  }

  /** Breaks a collection off: what it did not get to stays. */
  async stop(): Promise<void> {
    const stopped = this.#loop.stop()
    this.#last?.abort.abort()
    await stopped
    await this.#last?.done
  }

  /** The collection that runs, or else ran last; undefined before the first. */
  get last(): CollectionView | undefined {
    const run = this.#last
    if (run === undefined) return undefined
    const { collection, isDryRun, startedAtMs, state, endedAtMs, reason } = run
    return {
      state,
      isDryRun,
      startedAt: new Date(startedAtMs).toISOString(),
      ...(endedAtMs === undefined ? {} : { endedAt: new Date(endedAtMs).toISOString() }),
      ...(reason === undefined ? {} : { reason }),
      ...collection.collected,
    }
  }

  /**
   * Begins a collection; false when one runs already, or the registry is not running. Rejects when nobody can say
   * whether one runs.
   */
  async begin(isDryRun: boolean): Promise<boolean> {
    if (!this.#loop.isRunning || this.#last?.state === 'running') return false
    const hold = await this.#dependencies.hold()
    if (hold === undefined) return false
    // Stopped meanwhile.
    if (!this.#loop.isRunning) {
      await hold.release()
      return false
    }
    const { driver, uses, turns, retention, references, unlinked } = this.#dependencies
    const { graceHours, untagged } = this.#options
    const options = { graceMs: graceHours * HOUR_MS, untagged, isDryRun }
    const collection = new Collection(options, { driver, uses, turns, retention, references, unlinked, now: Date.now })
    const abort = new AbortController()
    const run: Run = { collection, isDryRun, startedAtMs: Date.now(), abort, state: 'running', done: Promise.resolve() }
    this.#last = run
    run.done = this.#run(run, hold).finally(() => hold.release())
    return true
  }

  async #run(run: Run, hold: Hold): Promise<void> {
    const { metrics, log } = this.#dependencies
    try {
      const collected = await run.collection.run(AbortSignal.any([run.abort.signal, hold.lost]))
      run.state = 'done'
      const { unreadable, ...counts } = collected
      log.info({ ...counts, isDryRun: run.isDryRun }, 'garbage was collected')
      if (unreadable.length > 0) {
        log.warn({ unreadable: unreadable.slice(0, 10) }, 'some manifests can not be read: their repositories keep all')
      }
    } catch (error) {
      run.state = run.abort.signal.aborted ? 'stopped' : 'failed'
      if (run.state === 'failed') {
        run.reason = errorChain(error)
        log.error({ error: run.reason }, 'a garbage collection failed; what it did not get to stays')
      }
    }
    run.endedAtMs = Date.now()
    if (run.isDryRun) return
    metrics.collections.inc({ outcome: run.state })
    metrics.removedTags.inc(run.collection.collected.removedTags)
    metrics.removedBytes.inc(run.collection.collected.removedBytes)
    if (run.state === 'done') metrics.lastSeconds.set(run.endedAtMs / 1000)
  }

  async #collectAgainAndAgain(signal: AbortSignal): Promise<void> {
    const { everyHours } = this.#options
    if (everyHours === 0) return
    while (!signal.aborted) {
      await pause(everyHours * HOUR_MS, signal)
      if (signal.aborted) return
      try {
        await this.begin(false)
      } catch (error) {
        this.#dependencies.log.warn({ error: errorChain(error) }, 'no garbage was collected; it will be tried again')
      }
      await this.#last?.done
    }
  }
}
