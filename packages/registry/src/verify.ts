import {
  blobsOf,
  createDigestHash,
  type Descriptor,
  type Digest,
  errorChain,
  formatDigest,
  type Manifest,
  parseDigest,
  parseManifest,
} from '@shoal/core'
import type { Upstreams } from './proxy/upstreams.ts'
import { BlobStore } from './storage/blobs.ts'
import { repositories, storedContents } from './storage/catalog.ts'
import { ContentUses } from './storage/content-uses.ts'
import type { StorageDriver } from './storage/driver.ts'
import { ManifestStore } from './storage/manifests.ts'
import { blobPath } from './storage/paths.ts'

const TAGS_AT_ONCE = 1000

/** Something stored that is not as it must be. */
export interface Finding {
  /**
   * - `corrupt`: a blob's or manifest's bytes have another digest than their name
   * - `missing`: an image needs something that its repository does not hold
   * - `dangling`: a tag points at nothing
   * - `invalid`: a manifest that can not be read as one
   */
  readonly kind: 'corrupt' | 'missing' | 'dangling' | 'invalid'
  /** A digest, `repository:tag` or `repository@digest`. */
  readonly where: string
  /** For people. */
  readonly why: string
}

/** What was looked at, so far or in all. */
export interface Verified {
  readonly repositories: number
  readonly tags: number
  readonly manifests: number
  readonly blobs: number
  /** Of the blobs. */
  readonly bytes: number
}

/** What an operator hears while the storage is verified, and when to stop. */
export interface VerifyOptions {
  readonly found: (finding: Finding) => void
  /** Whose repositories need not be whole: what is missing comes when it is asked for. */
  readonly upstreams?: Pick<Upstreams, 'of'>
  readonly progress?: (soFar: Verified) => void
  /** Aborts the work, which then rejects with the signal's reason. */
  readonly signal?: AbortSignal
}

/**
 * Reads all that a registry stores: every blob has the digest that it is named by, every manifest and all it needs is
 * held by its repository (but for those of upstreams), every tag points at a manifest. Changes nothing. Pushes and deletions may go on: what they
 * remove meanwhile is no finding. Returns what was looked at.
 */
export async function verifyStorage(driver: StorageDriver, options: VerifyOptions): Promise<Verified> {
  return await new Verification(driver, options).run()
}

class Verification {
  readonly #driver: StorageDriver
  readonly #blobs: BlobStore
  readonly #manifests: ManifestStore
  readonly #options: VerifyOptions
  readonly #seen = { repositories: 0, tags: 0, manifests: 0, blobs: 0, bytes: 0 }

  constructor(driver: StorageDriver, options: VerifyOptions) {
    const uses = new ContentUses()
    this.#driver = driver
    this.#blobs = new BlobStore(driver, uses)
    this.#manifests = new ManifestStore(driver, uses)
    this.#options = options
  }

  async run(): Promise<Verified> {
    for await (const repository of repositories(this.#driver)) {
      await this.#verifyTags(repository)
      for (const digest of await this.#manifests.revisions(repository)) await this.#verifyManifest(repository, digest)
      this.#count('repositories')
    }
    for await (const digest of storedContents(this.#driver)) await this.#verifyBlob(digest)
    return { ...this.#seen }
  }

  async #verifyTags(repository: string): Promise<void> {
    for (let after = ''; ; ) {
      const tags = await this.#manifests.tags(repository, TAGS_AT_ONCE, after)
      for (const tag of tags) {
        if (await this.#isDangling(repository, tag)) {
          this.#found('dangling', `${repository}:${tag}`, 'the tag points at no manifest of the repository')
        }
        this.#count('tags')
      }
      const last = tags.at(-1)
      if (last === undefined || tags.length < TAGS_AT_ONCE) return
      after = last
    }
  }

  /** Looks twice: between tag and manifest the tag may be moved, or both deleted, the tag first. */
  async #isDangling(repository: string, tag: string): Promise<boolean> {
    for (let look = 0; look < 2; look++) {
      const digest = await this.#manifests.resolve(repository, { tag })
      if (digest !== undefined && (await this.#manifests.has(repository, digest))) return false
    }
    return this.#manifests.hasTag(repository, tag)
  }

  async #verifyManifest(repository: string, digest: Digest): Promise<void> {
    // A crash between two files leaves what nobody sees, and a deletion may come while the manifest is read.
    if (!(await this.#manifests.links(repository, digest))) return
    const findings = await this.#findingsIn(repository, digest)
    const isThere = findings.length > 0 && (await this.#manifests.links(repository, digest))
    const where = `${repository}@${formatDigest(digest)}`
    if (isThere) for (const { kind, why } of findings) this.#found(kind, where, why)
    this.#count('manifests')
  }

  async #findingsIn(repository: string, digest: Digest): Promise<Omit<Finding, 'where'>[]> {
    let bytes: Uint8Array | undefined
    try {
      bytes = await this.#manifests.read(repository, digest)
    } catch (error) {
      return [{ kind: 'corrupt', why: errorChain(error) }]
    }
    if (bytes === undefined) return [{ kind: 'missing', why: 'the manifest is gone from the store' }]
    let manifest: Manifest
    try {
      manifest = parseManifest(bytes)
    } catch (error) {
      return [{ kind: 'invalid', why: errorChain(error) }]
    }
    if (this.#options.upstreams?.of(repository) !== undefined) return []
    const findings: Omit<Finding, 'where'>[] = []
    for (const needed of manifest.kind === 'index' ? manifest.manifests : blobsOf(manifest)) {
      const why = await this.#whyNotHeld(repository, needed)
      if (why !== undefined) findings.push({ kind: 'missing', why })
    }
    return findings
  }

  async #whyNotHeld(repository: string, { digest: text, size, urls }: Descriptor): Promise<string | undefined> {
    if ((urls?.length ?? 0) > 0) return undefined
    const digest = parseDigest(text)
    if (await this.#manifests.has(repository, digest)) return undefined
    const found = await this.#blobs.sizeOf(repository, digest)
    if (found === undefined) return `it needs ${text}, which the repository does not hold`
    return found === size ? undefined : `it needs ${size} bytes of ${text}, which has ${found}`
  }

  async #verifyBlob(digest: Digest): Promise<void> {
    const file = await this.#driver.open(blobPath(digest))
    if (file === undefined) return
    const hash = createDigestHash(digest.algorithm)
    try {
      const { sizeBytes } = file
      if (sizeBytes > 0) {
        for await (const chunk of file.chunks({ start: 0, end: sizeBytes - 1 })) {
          hash.update(chunk)
          this.#count('bytes', chunk.byteLength)
        }
      }
    } finally {
      await file.close()
    }
    const hex = hash.digest('hex')
    if (hex !== digest.hex) {
      this.#found(
        'corrupt',
        formatDigest(digest),
        `its bytes have the digest ${digest.algorithm}:${hex}: push it again`,
      )
    }
    this.#count('blobs')
  }

  #found(kind: Finding['kind'], where: string, why: string): void {
    this.#options.found({ kind, where, why })
  }

  #count(what: keyof Verified, by = 1): void {
    this.#options.signal?.throwIfAborted()
    this.#seen[what] += by
    this.#options.progress?.(this.#seen)
  }
}
