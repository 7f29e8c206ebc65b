import {
  type Digest,
  digestOf,
  formatDigest,
  isTag,
  MAX_MANIFEST_BYTES,
  type ManifestReference,
  mediaTypeOfManifest,
  parseDigest,
} from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { ContentUses } from './content-uses.ts'
import type { StorageDriver } from './driver.ts'
import { listDigests, readLink, writeLink } from './links.ts'
import {
  blobPath,
  repositoryPath,
  revisionLinkPath,
  revisionsPath,
  tagCurrentPath,
  tagIndexPath,
  tagPath,
  tagsPath,
} from './paths.ts'

/** How many small files are looked at together. */
const PARALLEL = 32
/** A media type is found at once in a manifest of so many bytes. */
const SMALL_BYTES = 64 * 1024
const MOST_REMEMBERED = 1000

/** The manifests and tags of repositories. Callers that change them hold the repository's turn (`turns.ts`). */
export class ManifestStore {
  readonly #driver: StorageDriver
  readonly #uses: ContentUses
  /** Of large manifests, by digest: to find them takes up to a tenth of a second. */
  readonly #mediaTypes = new Map<string, string>()

  constructor(driver: StorageDriver, uses: ContentUses) {
    this.#driver = driver
    this.#uses = uses
  }

  /** Whether the repository has, or had, manifests. */
  async knows(repository: string): Promise<boolean> {
    return (await this.#driver.stat(`${repositoryPath(repository)}/_manifests`)) !== undefined
  }

  /** The digest that a reference names; undefined when it is a tag that does not exist. */
  async resolve(repository: string, reference: ManifestReference): Promise<Digest | undefined> {
    if ('digest' in reference) return parseDigest(reference.digest)
    return readLink(this.#driver, tagCurrentPath(repository, reference.tag))
  }

  /** Whether a manifest is visible in the repository, be it there or not. */
  async links(repository: string, digest: Digest): Promise<boolean> {
    return (await readLink(this.#driver, revisionLinkPath(repository, digest))) !== undefined
  }

  /** Whether there is a tag, whatever it points at. */
  hasTag(repository: string, tag: string): Promise<boolean> {
    return this.#isFile(tagCurrentPath(repository, tag))
  }

  /** Whether the repository holds a manifest. To have asked for it is a use. */
  async has(repository: string, digest: Digest): Promise<boolean> {
    await this.#uses.note(digest)
    return this.#has(repository, digest)
  }

  async #has(repository: string, digest: Digest): Promise<boolean> {
    const target = await readLink(this.#driver, revisionLinkPath(repository, digest))
    return target !== undefined && (await this.#driver.stat(blobPath(target))) !== undefined
  }

  /**
   * The exact bytes of a manifest; undefined when the repository does not hold it. To have asked for it is a use.
   * @throws RegistryError `UNKNOWN` when what is stored is not what the digest says
   */
  async read(repository: string, digest: Digest): Promise<Uint8Array | undefined> {
    await this.#uses.note(digest)
    const target = await readLink(this.#driver, revisionLinkPath(repository, digest))
    if (target === undefined) return undefined
    const bytes = await this.#driver.read(blobPath(target), MAX_MANIFEST_BYTES)
    if (bytes !== undefined && digestOf(bytes, digest.algorithm) !== formatDigest(digest)) {
      throw new RegistryError('UNKNOWN', `the stored manifest ${formatDigest(digest)} is damaged: push it again`)
    }
    return bytes
  }

  /** What a stored manifest is served as: Distribution keeps no media types, so the content says what it is. */
  mediaTypeOf(digest: Digest, bytes: Uint8Array): string {
    const key = formatDigest(digest)
    const known = this.#mediaTypes.get(key)
    if (known !== undefined) return known
    const mediaType = mediaTypeOfManifest(bytes)
    if (bytes.byteLength > SMALL_BYTES) remember(this.#mediaTypes, key, mediaType)
    return mediaType
  }

  /** Stores a manifest and then makes it visible. `digest` is that of `bytes`. */
  async put(repository: string, digest: Digest, bytes: Uint8Array): Promise<void> {
    const path = blobPath(digest)
    await this.#uses.link(digest, async () => {
      const stored = await this.#driver.stat(path)
      const isIntact =
        stored?.sizeBytes === bytes.byteLength &&
        digestOf((await this.#driver.read(path, bytes.byteLength)) ?? '', digest.algorithm) === formatDigest(digest)
      if (!isIntact) await this.#driver.write(path, bytes)
      await writeLink(this.#driver, revisionLinkPath(repository, digest), digest)
    })
  }

  /** Points a tag at a manifest that the repository holds. */
  async tag(repository: string, tag: string, digest: Digest): Promise<void> {
    await writeLink(this.#driver, tagIndexPath(repository, tag, digest), digest)
    await writeLink(this.#driver, tagCurrentPath(repository, tag), digest)
  }

  /** Removes a tag; false when there is none. */
  async untag(repository: string, tag: string): Promise<boolean> {
    if ((await this.#driver.stat(tagCurrentPath(repository, tag))) === undefined) return false
    await this.#driver.remove(tagPath(repository, tag))
    return true
  }

  /** Makes a manifest invisible, and the tags that point at it; false when it was not visible. */
  async remove(repository: string, digest: Digest): Promise<boolean> {
    if (!(await this.#has(repository, digest))) return false
    const text = formatDigest(digest)
    const pointing = await this.#keepIf(await this.#tagFolders(repository), async (tag) => {
      const target = await readLink(this.#driver, tagCurrentPath(repository, tag))
      return target !== undefined && formatDigest(target) === text
    })
    for (const tag of pointing) await this.#driver.remove(tagPath(repository, tag))
    await this.#driver.remove(revisionLinkPath(repository, digest))
    return true
  }

  /** Tags in ASCII order, at most `limit`, all after `after`. */
  async tags(repository: string, limit: number, after = ''): Promise<string[]> {
    const folders = (await this.#tagFolders(repository)).filter((tag) => tag > after)
    const tags: string[] = []
    // A crash between a tag's two links leaves a folder that is not yet a tag.
    for (let i = 0; i < folders.length && tags.length < limit; i += PARALLEL) {
      const some = folders.slice(i, i + PARALLEL)
      tags.push(...(await this.#keepIf(some, (tag) => this.#isFile(tagCurrentPath(repository, tag)))))
    }
    return tags.slice(0, limit)
  }

  /** Digests of the manifests that may be visible in the repository, in ASCII order; `has` tells. */
  async revisions(repository: string): Promise<Digest[]> {
    return listDigests(this.#driver, (algorithm) => revisionsPath(repository, algorithm))
  }

  async #tagFolders(repository: string): Promise<string[]> {
    return (await this.#driver.list(tagsPath(repository))).filter(isTag)
  }

  async #isFile(path: string): Promise<boolean> {
    return (await this.#driver.stat(path))?.isFolder === false
  }

  async #keepIf(names: readonly string[], keep: (name: string) => Promise<boolean>): Promise<string[]> {
    const kept: string[] = []
    for (let i = 0; i < names.length; i += PARALLEL) {
      const some = names.slice(i, i + PARALLEL)
      const verdicts = await Promise.all(some.map(keep))
      kept.push(...some.filter((_, at) => verdicts[at]))
    }
    return kept
  }
}

function remember(known: Map<string, string>, key: string, value: string): void {
  const [oldest] = known.keys()
  if (known.size >= MOST_REMEMBERED && oldest !== undefined) known.delete(oldest)
  known.set(key, value)
}
