import type { Logger } from '@shoal/core'
import { OriginError, originError } from '@shoal/origin'
import type { BlobMirrorRequest } from './blobs.ts'

/** What is to be done about a client that has not got a byte yet. */
type Step = 'wait' | 'ask' | 'give_up'

/** How a wait for a first byte stands. Times in milliseconds of one clock. */
export interface FirstByteView {
  readonly nowMs: number
  /** When anything last moved for the blob, on this node or at its origin, or the request came. */
  readonly movedMs: number
  /** When the origin was asked since then; undefined: it was not. */
  readonly askedMs: number | undefined
}

/**
 * What to do now, and when to look again. While anything moves, a client waits however long its first byte takes: of
 * thousands of nodes that pull a large blob at once most get theirs late, and would all go to the origin otherwise. When
 * nothing moved for half of the time, the origin is asked whether it is there; if it says nothing either, and still
 * nothing moved, the client is told the truth, and goes to its next mirror or registry.
 */
export function firstByteStep(
  view: FirstByteView,
  timeoutMs: number,
): { readonly step: Step; readonly lookMs: number } {
  const { nowMs, movedMs, askedMs } = view
  const askMs = movedMs + timeoutMs / 2
  if (askedMs === undefined && nowMs < askMs) return { step: 'wait', lookMs: askMs }
  // A process that stood still asks late, and gives the origin its time all the same.
  const giveUpMs = Math.max(movedMs + timeoutMs, (askedMs ?? nowMs) + timeoutMs / 2)
  if (askedMs === undefined) return { step: 'ask', lookMs: giveUpMs }
  return { step: nowMs >= giveUpMs ? 'give_up' : 'wait', lookMs: giveUpMs }
}

/** What a wait for a first byte asks of others. */
export interface FirstByteDependencies {
  /** When anything last moved in the download of a blob; undefined: never, or there is none. */
  readonly movedMs: (digest: string) => number | undefined
  /** Asks the origin for next to nothing of the blob, over the way that its bytes would take; rejects with OriginError. */
  readonly askOrigin: (wish: BlobMirrorRequest, signal: AbortSignal) => Promise<void>
  readonly log: Logger
  /** Milliseconds of a clock that does not step back. */
  readonly now: () => number
}

/** Keeps clients from waiting for a first byte that nothing brings. */
export class FirstByte {
  readonly #timeoutMs: number
  readonly #dependencies: FirstByteDependencies

  /** @param timeoutMs for how long nothing may move while a client waits */
  constructor(timeoutMs: number, dependencies: FirstByteDependencies) {
    this.#timeoutMs = timeoutMs
    this.#dependencies = dependencies
  }

  /**
   * What `work`, which ends with a first byte, resolves to. Rejects with OriginError when nothing moved for too long
   * since `beganMs`; the signal of `work` aborts then, or when `signal` does.
   */
  within<T>(
    wish: BlobMirrorRequest,
    beganMs: number,
    signal: AbortSignal,
    work: (signal: AbortSignal) => Promise<T>,
  ): Promise<T> {
    const { movedMs, now } = this.#dependencies
    const givingUp = new AbortController()
    const over = new AbortController()
    const { promise, resolve, reject } = Promise.withResolvers<T>()
    let trustedMs = beganMs
    let answers = 0
    let askedMs = Number.NEGATIVE_INFINITY
    let refusal: unknown
    let timer: NodeJS.Timeout
    const look = () => {
      const nowMs = now()
      const lastMs = Math.max(trustedMs, movedMs(wish.digest) ?? beganMs)
      const view = { nowMs, movedMs: lastMs, askedMs: askedMs > lastMs ? askedMs : undefined }
      const { step, lookMs } = firstByteStep(view, this.#timeoutMs)
      if (step === 'give_up') {
        const error = refusal ?? this.#silence(wish)
        reject(error)
        givingUp.abort(error)
        return
      }
      timer = setTimeout(look, Math.max(1, lookMs - nowMs))
      if (step === 'wait') return
      askedMs = nowMs
      refusal = undefined
      this.#ask(wish, AbortSignal.any([over.signal, givingUp.signal, signal])).then(
        () => {
          // An origin that answers is trusted for longer each time: thousands of nodes may wait for it.
          trustedMs = now() + (2 ** answers++ - 1) * this.#timeoutMs
        },
        (error: unknown) => {
          refusal = error instanceof OriginError && error.code !== 'ABORTED' ? error : undefined
        },
      )
    }
    look()
    void work(AbortSignal.any([signal, givingUp.signal]))
      .then(resolve, reject)
      .finally(() => {
        clearTimeout(timer)
        over.abort()
      })
    return promise
  }

  #ask(wish: BlobMirrorRequest, signal: AbortSignal): Promise<void> {
    this.#dependencies.log.debug({ digest: wish.digest }, 'nothing moves for a waiting client; asking the origin')
    return this.#dependencies.askOrigin(wish, signal)
  }

  #silence({ upstream, digest }: BlobMirrorRequest): OriginError {
    const message = `no byte of ${digest} came from any node or the origin in ${this.#timeoutMs} ms`
    return originError('STALLED', upstream, message)
  }
}
