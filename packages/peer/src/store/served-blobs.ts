import type { Startable } from '@shoal/core'

const RENEW_MS = 60_000

/**
 * Notes that neighbours use blobs. The worker threads look a blob up once and serve it from then on by themselves; so
 * that its use is seen again, they are made to look it up anew once a minute.
 */
export class ServedBlobs implements Startable {
  readonly #touch: (digest: string) => void
  readonly #forget: (digest: string) => void
  readonly #lookedUp = new Set<string>()
  #timer: NodeJS.Timeout | undefined

  constructor(dependencies: {
    /** Notes a use in the store. */
    touch: (digest: string) => void
    /** Has the threads look the blob up anew. */
    forget: (digest: string) => void
  }) {
    this.#touch = dependencies.touch
    this.#forget = dependencies.forget
  }

  async start(): Promise<void> {
    this.#timer ??= setInterval(() => this.renew(), RENEW_MS)
  }

  async stop(): Promise<void> {
    clearInterval(this.#timer)
    this.#timer = undefined
  }

  /** A thread looked the blob up because a neighbour asked for it. */
  lookedUp(digest: string): void {
    this.#touch(digest)
    this.#lookedUp.add(digest)
  }

  /** Has the threads look up anew what they serve. */
  renew(): void {
    const digests = [...this.#lookedUp]
    this.#lookedUp.clear()
    for (const digest of digests) this.#forget(digest)
  }
}
