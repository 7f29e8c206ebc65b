import { setTimeout as delay } from 'node:timers/promises'

/** Something that is started once and stopped once. Both are idempotent; a failed start leaves nothing running. */
export interface Startable {
  start(): Promise<void>
  stop(): Promise<void>
}

/** Starts parts in order and stops them in reverse; a part that fails to start stops those before it. */
export class Lifecycle implements Startable {
  readonly #parts: readonly Startable[]
  #started: Startable[] = []

  constructor(parts: readonly Startable[]) {
    this.#parts = parts
  }

  async start(): Promise<void> {
    if (this.#started.length > 0) return
    for (const part of this.#parts) {
      try {
        await part.start()
        this.#started.push(part)
      } catch (error) {
        await this.stop().catch(() => {})
        throw error
      }
    }
  }

  async stop(): Promise<void> {
    const started = this.#started.reverse()
    this.#started = []
    const errors: unknown[] = []
    for (const part of started) {
      try {
        await part.stop()
      } catch (error) {
        errors.push(error)
      }
    }
    if (errors.length > 0)
      throw errors.length === 1 ? errors[0] : new AggregateError(errors, 'several parts failed to stop')
  }
}

/** Work that goes on in the background until it is stopped; `stop` waits for its end. */
export class BackgroundLoop implements Startable {
  readonly #work: (signal: AbortSignal) => Promise<void>
  #running: { readonly abort: AbortController; readonly done: Promise<void> } | undefined

  /** @param work ends soon after its signal aborts, and does not reject */
  constructor(work: (signal: AbortSignal) => Promise<void>) {
    this.#work = work
  }

  get isRunning(): boolean {
    return this.#running !== undefined
  }

  async start(): Promise<void> {
    if (this.#running !== undefined) return
    const abort = new AbortController()
    this.#running = { abort, done: this.#work(abort.signal) }
  }

  /** The signal aborts at once. */
  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    running?.abort.abort()
    await running?.done
  }
}

/** `signal` or a deadline of `timeoutMs`, whichever comes first. */
export function withDeadline(timeoutMs: number, signal?: AbortSignal): AbortSignal {
  const deadline = AbortSignal.timeout(timeoutMs)
  return signal === undefined ? deadline : AbortSignal.any([signal, deadline])
}

/** What `work` comes to; rejects with the signal's reason when `signal` aborts before. `work` itself goes on. */
export async function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  // Nobody listens to it any more once the signal has aborted.
  work.catch(() => {})
  signal.throwIfAborted()
  const { promise: aborted, reject } = Promise.withResolvers<never>()
  const onAbort = () => reject(signal.reason)
  signal.addEventListener('abort', onAbort)
  try {
    return await Promise.race([work, aborted])
  } finally {
    signal.removeEventListener('abort', onAbort)
  }
}

/** Waits `ms`; returns early, without throwing, when `signal` aborts. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal }).catch(() => {})
}
