import { pause } from '@shoal/core'
import type { WholeBlob } from './events.ts'
import { schedulerOf } from './rendezvous.ts'
import type { SchedulerStream } from './scheduler-stream.ts'

/** So many blobs are named at once; then what else the node has to say, and to do, has its turn. */
const BATCH = 1000
const PAUSE_MS = 10

/** One announcement under way. */
interface Running {
  readonly stopping: AbortController
  readonly done: Promise<void>
}

/**
 * Tells schedulers which whole blobs the node holds: each those that are its by rendezvous over the live schedulers,
 * and of them only what it was not told before on the same stream, in batches.
 */
export class Announcements {
  readonly #wholeBlobs: () => Iterable<WholeBlob>
  /** The live schedulers when a stream was last told to the end. */
  readonly #told = new WeakMap<SchedulerStream, readonly string[]>()
  readonly #running = new Map<SchedulerStream, Running>()

  /** @param wholeBlobs the whole blobs that the node holds now */
  constructor(wholeBlobs: () => Iterable<WholeBlob>) {
    this.#wholeBlobs = wholeBlobs
  }

  /**
   * The live schedulers are others than before: tells the one at `address`, on its stream, what has become its.
   * Resolves when that is said, or no longer to be said.
   */
  tell(stream: SchedulerStream, address: string, live: readonly string[]): Promise<void> {
    this.#running.get(stream)?.stopping.abort()
    const told = this.#told.get(stream)
    const isNew = (digest: string) =>
      schedulerOf(digest, live) === address && (told === undefined || schedulerOf(digest, told) !== address)
    // With more schedulers beside it, each has less.
    const isMore = told === undefined || !told.every((other) => live.includes(other))
    const stopping = new AbortController()
    const done = isMore ? this.#say(stream, isNew, stopping.signal) : Promise.resolve()
    const running = {
      stopping,
      done: done.then(() => {
        if (!stopping.signal.aborted) this.#told.set(stream, live)
        if (this.#running.get(stream) === running) this.#running.delete(stream)
      }),
    }
    this.#running.set(stream, running)
    return running.done
  }

  async stop(): Promise<void> {
    const running = [...this.#running.values()]
    for (const { stopping } of running) stopping.abort()
    await Promise.all(running.map(({ done }) => done))
  }

  async #say(stream: SchedulerStream, isNew: (digest: string) => boolean, signal: AbortSignal): Promise<void> {
    let seen = 0
    for (const { digest, size } of this.#wholeBlobs()) {
      if (isNew(digest)) stream.holding(digest, size)
      if (++seen % BATCH > 0) continue
      do await pause(PAUSE_MS, signal)
      while (stream.isWelcome && stream.queued > BATCH && !signal.aborted)
      if (signal.aborted || !stream.isWelcome) return
    }
  }
}
