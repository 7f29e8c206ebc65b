import type { Digest } from '@shoal/core'
import type { StorageDriver, StoredFile } from './driver.ts'
import { readLink, writeLink } from './links.ts'
import { blobPath, layerLinkPath } from './paths.ts'

/** The blobs of repositories. A repository holds a blob when its link and the blob itself exist. */
export class BlobStore {
  readonly #driver: StorageDriver

  constructor(driver: StorageDriver) {
    this.#driver = driver
  }

  /** Bytes of a blob; undefined when the repository does not hold it. */
  async sizeOf(repository: string, digest: Digest): Promise<number | undefined> {
    const target = await readLink(this.#driver, layerLinkPath(repository, digest))
    if (target === undefined) return undefined
    const found = await this.#driver.stat(blobPath(target))
    return found === undefined || found.isFolder ? undefined : found.sizeBytes
  }

  /** A blob for reading; undefined when the repository does not hold it. */
  async open(repository: string, digest: Digest): Promise<StoredFile | undefined> {
    const target = await readLink(this.#driver, layerLinkPath(repository, digest))
    return target === undefined ? undefined : this.#driver.open(blobPath(target))
  }

  /**
   * Makes a blob visible in a repository.
   * @param target the digest that the content is stored under: as in Distribution the sha256, whatever `digest` is
   */
  async link(repository: string, digest: Digest, target: Digest): Promise<void> {
    await writeLink(this.#driver, layerLinkPath(repository, target), target)
    if (digest.algorithm !== target.algorithm) {
      await writeLink(this.#driver, layerLinkPath(repository, digest), target)
    }
  }

  /** Makes a blob of `from` visible in `to`; false when `from` does not hold it. */
  async mount(digest: Digest, from: string, to: string): Promise<boolean> {
    const target = await readLink(this.#driver, layerLinkPath(from, digest))
    if (target === undefined || (await this.#driver.stat(blobPath(target))) === undefined) return false
    await this.link(to, digest, target)
    return true
  }

  /** Makes a blob invisible in a repository; false when it was not visible. The content stays. */
  async unlink(repository: string, digest: Digest): Promise<boolean> {
    if ((await this.sizeOf(repository, digest)) === undefined) return false
    await this.#driver.remove(layerLinkPath(repository, digest))
    return true
  }
}
