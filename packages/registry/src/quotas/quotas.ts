import type { Digest } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import { compileGlob, type Pattern } from '../patterns.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { listDigests, readLink } from '../storage/links.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import { blobPath, layerLinkPath, layersPath } from '../storage/paths.ts'
import { Turns } from '../storage/turns.ts'
import type { Quota } from './options.ts'

/** Repositories whose bytes are remembered; another one is added up again when somebody pushes to it. */
const MAX_REMEMBERED = 10_000
const STATS_AT_ONCE = 32

/** Says who may still push. What a repository holds is added up when it is first asked for, and counted on from there. */
export class Quotas {
  readonly #quotas: readonly { readonly quota: Quota; readonly repositories: readonly Pattern[] }[]
  readonly #driver: StorageDriver
  readonly #isAlone: boolean
  readonly #turns = new Turns()
  readonly #usedBytes = new Map<string, number>()
  /** Counts what was forgotten: a sum that was begun before may hold what is gone. */
  #forgotten = 0

  /**
   * Throws CoreError `CONFIG_INVALID` when a glob can not be used.
   * @param isAlone whether nobody else changes the storage; otherwise what is held is added up for each push
   */
  constructor(quotas: readonly Quota[], driver: StorageDriver, isAlone = true) {
    this.#quotas = quotas.map((quota, at) => ({
      quota,
      repositories: quota.repositories.map((glob) => compileGlob(glob, `quotas[${at}].repositories`)),
    }))
    this.#driver = driver
    this.#isAlone = isAlone
  }

  /**
   * What an upload to the repository may bring; throws RegistryError `DENIED` in the end when it brings more. It is known
   * only then whether the repository holds the blob already.
   */
  async limitOf(repository: string): Promise<(sizeBytes: number) => void> {
    const maxBytes = this.#of(repository)?.maxBytes
    if (maxBytes === undefined) return () => {}
    const usedBytes = await this.#turns.take(repository, () => this.#used(repository))
    return (sizeBytes) => {
      if (usedBytes + sizeBytes > maxBytes) throw outOfBytes(repository, usedBytes, maxBytes)
    }
  }

  /**
   * Counts a blob that is going to be linked to the repository, unless it is already.
   * @throws RegistryError `DENIED` when there is no room for it
   */
  async take(repository: string, digest: Digest, sizeBytes: number): Promise<void> {
    const maxBytes = this.#of(repository)?.maxBytes
    if (maxBytes === undefined) return
    await this.#turns.take(repository, async () => {
      if ((await readLink(this.#driver, layerLinkPath(repository, digest))) !== undefined) return
      const usedBytes = await this.#used(repository)
      if (usedBytes + sizeBytes > maxBytes) throw outOfBytes(repository, usedBytes, maxBytes)
      if (this.#usedBytes.has(repository)) this.#usedBytes.set(repository, usedBytes + sizeBytes)
    })
  }

  /** The repository holds less than was counted: it is added up again when that matters. */
  forget(repository: string): void {
    this.#forgotten++
    this.#usedBytes.delete(repository)
  }

  /**
   * Call it in the repository's turn, before `tags` are set.
   * @throws RegistryError `DENIED` when these would be too many
   */
  async refuseTags(manifests: ManifestStore, repository: string, tags: readonly string[]): Promise<void> {
    const maxTags = this.#of(repository)?.maxTags
    if (maxTags === undefined) return
    const isThere = await Promise.all(tags.map((tag) => manifests.hasTag(repository, tag)))
    const added = isThere.filter((is) => !is).length
    if (added === 0) return
    const held = (await manifests.tags(repository, maxTags)).length
    if (held + added <= maxTags) return
    throw new RegistryError(
      'DENIED',
      `${repository} may have ${maxTags} tags and has ${held}: delete some, then push again`,
      {
        data: { quota: 'tags', used: held, limit: maxTags },
      },
    )
  }

  #of(repository: string): Quota | undefined {
    return this.#quotas.find(({ repositories }) => repositories.some((glob) => glob.matches(repository)))?.quota
  }

  async #used(repository: string): Promise<number> {
    const known = this.#usedBytes.get(repository)
    if (known !== undefined) return known
    const forgottenBefore = this.#forgotten
    let usedBytes = 0
    // Each blob has a link by its sha256, whatever else it is called.
    const digests = await listDigests(this.#driver, (algorithm) => layersPath(repository, algorithm))
    const blobs = digests.filter(({ algorithm }) => algorithm === 'sha256')
    for (let i = 0; i < blobs.length; i += STATS_AT_ONCE) {
      const sizes = await Promise.all(blobs.slice(i, i + STATS_AT_ONCE).map((blob) => this.#sizeOf(repository, blob)))
      usedBytes += sizes.reduce((sum, sizeBytes) => sum + sizeBytes, 0)
    }
    if (this.#isAlone && this.#forgotten === forgottenBefore) this.#usedBytes.set(repository, usedBytes)
    const [oldest] = this.#usedBytes.keys()
    if (this.#usedBytes.size > MAX_REMEMBERED && oldest !== undefined) this.#usedBytes.delete(oldest)
    return usedBytes
  }

  /** 0 when the link is gone, or what it points at. */
  async #sizeOf(repository: string, digest: Digest): Promise<number> {
    const target = await readLink(this.#driver, layerLinkPath(repository, digest))
    return target === undefined ? 0 : ((await this.#driver.stat(blobPath(target)))?.sizeBytes ?? 0)
  }
}

function outOfBytes(repository: string, usedBytes: number, maxBytes: number): RegistryError {
  return new RegistryError(
    'DENIED',
    `${repository} may hold ${maxBytes} bytes of blobs and holds ${usedBytes}: delete images, have garbage collected, then push again`,
    { data: { quota: 'bytes', used: usedBytes, limit: maxBytes } },
  )
}
