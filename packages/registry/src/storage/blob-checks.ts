import { createDigestHash, type Digest, errorChain, type Logger } from '@shoal/core'
import type { StorageDriver, StoredFile } from './driver.ts'
import { blobPath } from './paths.ts'

interface BlobChecksDependencies {
  readonly driver: Pick<StorageDriver, 'open'>
  /** Told once of each damaged content; what it does is done before anybody hears of the damage. */
  readonly damaged: (digest: Digest) => Promise<void>
  readonly log: Logger
  /** Milliseconds of a clock that does not step back. */
  readonly now?: () => number
}

/** What is known of the bytes of a file: right, wrong, or that they are being looked at. */
export type Verdict = 'right' | 'wrong' | Promise<'right' | 'wrong'>

/** What a file system says of a file without reading it. */
type Seen = Pick<StoredFile, 'sizeBytes' | 'changedAtMs'>

/** For so long a content that did not change is taken to be what it was when it was looked at. */
const BELIEVED_MS = 60 * 60_000
const MOST_REMEMBERED = 100_000
/** Contents that are read at once, each at the speed of a disk. */
const CHECKED_TOGETHER = 2

/**
 * Whether the bytes of stored contents are those that their digests name. What a disk has may be cut or rot, so each is
 * read and hashed when a client wants it and it has changed, or was not looked at for an hour; once, however many want it.
 * Of storages that do not say when a file changed, such as object stores, all is taken to be right: they check their own.
 */
export class BlobChecks {
  readonly #dependencies: BlobChecksDependencies
  readonly #now: () => number
  /** By digest; what was looked at longest ago first. */
  readonly #known = new Map<string, { readonly seen: Seen; readonly atMs: number; readonly isRight: boolean }>()
  readonly #running = new Map<string, Promise<'right' | 'wrong'>>()
  readonly #waiting: (() => void)[] = []
  #checking = 0

  constructor(dependencies: BlobChecksDependencies) {
    this.#dependencies = dependencies
    this.#now = dependencies.now ?? (() => performance.now())
  }

  /** A content was hashed while it was written, and is now this file. */
  noteRight({ hex }: Digest, seen: Seen): void {
    this.#remember(hex, seen, true)
  }

  /** @param digest that it is stored under */
  verdictOn(digest: Digest, seen: Seen): Verdict {
    if (seen.changedAtMs === undefined) return 'right'
    const known = this.#known.get(digest.hex)
    const isSame = known?.seen.changedAtMs === seen.changedAtMs && known.seen.sizeBytes === seen.sizeBytes
    if (known !== undefined && isSame && this.#now() - known.atMs < BELIEVED_MS)
      return known.isRight ? 'right' : 'wrong'
    const running = this.#running.get(digest.hex) ?? this.#check(digest)
    this.#running.set(digest.hex, running)
    return running
  }

  async #check(digest: Digest): Promise<'right' | 'wrong'> {
    if (this.#checking >= CHECKED_TOGETHER) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#checking++
    try {
      const isRight = await this.#isRight(digest)
      if (!isRight) await this.#dependencies.damaged(digest)
      return isRight ? 'right' : 'wrong'
    } catch (error) {
      this.#dependencies.log.error({ error: errorChain(error) }, 'a stored blob can not be read')
      return 'wrong'
    } finally {
      this.#checking--
      this.#waiting.shift()?.()
      this.#running.delete(digest.hex)
    }
  }

  async #isRight(digest: Digest): Promise<boolean> {
    const file = await this.#dependencies.driver.open(blobPath(digest))
    // It was removed meanwhile: who has it open reads what it was.
    if (file === undefined) return true
    const { sizeBytes, changedAtMs } = file
    const hash = createDigestHash(digest.algorithm)
    try {
      if (sizeBytes > 0) for await (const chunk of file.chunks({ start: 0, end: sizeBytes - 1 })) hash.update(chunk)
    } finally {
      await file.close()
    }
    const isRight = hash.digest('hex') === digest.hex
    this.#remember(digest.hex, { sizeBytes, changedAtMs }, isRight)
    return isRight
  }

  #remember(hex: string, seen: Seen, isRight: boolean): void {
    this.#known.delete(hex)
    this.#known.set(hex, { seen, atMs: this.#now(), isRight })
    const [oldest] = this.#known.keys()
    if (this.#known.size > MOST_REMEMBERED && oldest !== undefined) this.#known.delete(oldest)
  }
}
