import type { Digest } from '@shoal/core'
import { Quotas } from '../quotas/quotas.ts'
import type { BlobChecks } from './blob-checks.ts'
import { checkedFile } from './checked-file.ts'
import type { ContentUses } from './content-uses.ts'
import type { StorageDriver, StoredFile } from './driver.ts'
import { readLink, writeLink } from './links.ts'
import { blobPath, layerLinkPath } from './paths.ts'

/** Who bounds what repositories hold. */
export type BlobQuotas = Pick<Quotas, 'take' | 'forget'>

/** The blobs of repositories. A repository holds a blob when its link and the blob itself exist. */
export class BlobStore {
  readonly #driver: StorageDriver
  readonly #uses: ContentUses
  readonly #quotas: BlobQuotas
  readonly #checks: BlobChecks | undefined

  /**
   * @param quotas no bounds when left out
   * @param checks of what is read; what is stored is taken to be right when left out
   */
  constructor(
    driver: StorageDriver,
    uses: ContentUses,
    quotas: BlobQuotas = new Quotas([], driver),
    checks?: BlobChecks,
  ) {
    this.#driver = driver
    this.#uses = uses
    this.#quotas = quotas
    this.#checks = checks
  }

  /** Bytes of a blob; undefined when the repository does not hold it. To have asked for it is a use. */
  async sizeOf(repository: string, digest: Digest): Promise<number | undefined> {
    await this.#uses.note(digest)
    return (await this.pathOf(repository, digest))?.sizeBytes
  }

  /**
   * A blob for reading; undefined when the repository does not hold it, or what is stored is known to be damaged. Reading
   * it to its end throws when it is found to be damaged meanwhile.
   */
  async open(repository: string, digest: Digest): Promise<StoredFile | undefined> {
    const target = await readLink(this.#driver, layerLinkPath(repository, digest))
    const file = target === undefined ? undefined : await this.#driver.open(blobPath(target))
    if (target === undefined || file === undefined || this.#checks === undefined) return file
    return checkedFile(file, target, this.#checks)
  }

  /** Where a blob is stored; undefined when the repository does not hold it. */
  async pathOf(repository: string, digest: Digest): Promise<{ path: string; sizeBytes: number } | undefined> {
    const target = await readLink(this.#driver, layerLinkPath(repository, digest))
    const stored = target === undefined ? undefined : await this.#driver.stat(blobPath(target))
    if (target === undefined || stored === undefined || stored.isFolder) return undefined
    return { path: blobPath(target), sizeBytes: stored.sizeBytes }
  }

  /**
   * Makes a file, whose digest is proven and whose bytes are on disk, a blob of a repository.
   * @param path where it is; it is gone afterwards, or stays when the store has the blob already
   * @param target the digest that the content is stored under: as in Distribution the sha256, whatever `digest` is
   * @throws RegistryError `DENIED` when the repository has no room for it
   */
  async adopt(
    repository: string,
    digest: Digest,
    target: Digest,
    { path, sizeBytes }: { readonly path: string; readonly sizeBytes: number },
  ): Promise<void> {
    // The link notes the target.
    if (digest.algorithm !== target.algorithm) await this.#uses.note(digest)
    await this.#uses.link(target, async () => {
      await this.#counted(repository, target, sizeBytes, async () => {
        const stored = await this.#driver.stat(blobPath(target))
        // A blob of another size is what a crash of another registry left: it is replaced.
        if (stored?.sizeBytes !== sizeBytes) {
          await this.#driver.move(path, blobPath(target))
          const moved = this.#checks && (await this.#driver.stat(blobPath(target)))
          if (moved !== undefined) this.#checks?.noteRight(target, moved)
        }
        await this.#link(repository, digest, target)
      })
    })
  }

  /** Does `link`, which makes a blob the repository's, when there is room for it. */
  async #counted(repository: string, target: Digest, sizeBytes: number, link: () => Promise<void>): Promise<void> {
    await this.#quotas.take(repository, target, sizeBytes)
    try {
      await link()
    } catch (error) {
      this.#quotas.forget(repository)
      throw error
    }
  }

  async #link(repository: string, digest: Digest, target: Digest): Promise<void> {
    await writeLink(this.#driver, layerLinkPath(repository, target), target)
    if (digest.algorithm !== target.algorithm) {
      await writeLink(this.#driver, layerLinkPath(repository, digest), target)
    }
  }

  /**
   * Makes a blob of `from` visible in `to`; false when `from` does not hold it.
   * @throws RegistryError `DENIED` when `to` has no room for it
   */
  async mount(digest: Digest, from: string, to: string): Promise<boolean> {
    await this.#uses.note(digest)
    const named = await readLink(this.#driver, layerLinkPath(from, digest))
    if (named === undefined) return false
    return this.#uses.link(named, async () => {
      const target = await readLink(this.#driver, layerLinkPath(from, digest))
      const stored = target === undefined ? undefined : await this.#driver.stat(blobPath(target))
      if (target === undefined || stored === undefined) return false
      await this.#counted(to, target, stored.sizeBytes, () => this.#link(to, digest, target))
      return true
    })
  }

  /**
   * Makes a blob of a repository what the store holds for others; false when it holds nothing of that digest and size.
   * It is for the caller to know that the repository has it.
   * @throws RegistryError `DENIED` when the repository has no room for it
   */
  async claim(repository: string, digest: Digest, sizeBytes: number): Promise<boolean> {
    // Content is stored under its sha256.
    if (digest.algorithm !== 'sha256') return false
    return this.#uses.link(digest, async () => {
      const stored = await this.#driver.stat(blobPath(digest))
      if (stored === undefined || stored.isFolder || stored.sizeBytes !== sizeBytes) return false
      await this.#counted(repository, digest, sizeBytes, () => this.#link(repository, digest, digest))
      return true
    })
  }

  /** Makes a blob invisible in a repository; false when it was not visible. The content stays. */
  async unlink(repository: string, digest: Digest): Promise<boolean> {
    if ((await this.pathOf(repository, digest)) === undefined) return false
    await this.#driver.remove(layerLinkPath(repository, digest))
    this.#quotas.forget(repository)
    return true
  }
}
