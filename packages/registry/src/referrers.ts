import { type Descriptor, type Digest, formatDigest, type Manifest, parseManifest } from '@shoal/core'
import { RegistryError } from './errors.ts'
import type { ManifestStore } from './storage/manifests.ts'

/** What a manifest says about the one it refers to. */
interface Reference {
  /** Digest of the subject; undefined when the manifest has none. */
  readonly subject: string | undefined
  readonly descriptor: Descriptor | undefined
  /** Bytes that keeping this takes, roughly. */
  readonly costBytes: number
}

const CACHE_BYTES = 32 * 1024 * 1024
/** An object store takes as long for one manifest as for many at once; each may have 4 MiB. */
const LOOKED_AT_TOGETHER = 16

/**
 * Finds the manifests of a repository that name a subject, by looking at each. What a manifest says never changes, so
 * it is read once and kept, oldest out first; whether the repository still holds it is asked of the disk each time.
 */
export class Referrers {
  readonly #manifests: ManifestStore
  readonly #kept = new Map<string, Reference>()
  #keptBytes = 0

  constructor(manifests: ManifestStore) {
    this.#manifests = manifests
  }

  /** Descriptors of the manifests whose subject is `subject`, ordered by digest. */
  async of(repository: string, subject: Digest): Promise<Descriptor[]> {
    const wanted = formatDigest(subject)
    const found: Descriptor[] = []
    const revisions = await this.#manifests.revisions(repository)
    for (let i = 0; i < revisions.length; i += LOOKED_AT_TOGETHER) {
      const some = revisions.slice(i, i + LOOKED_AT_TOGETHER)
      const referring = await Promise.all(some.map((revision) => this.#referring(repository, revision, wanted)))
      found.push(...referring.filter((descriptor) => descriptor !== undefined))
    }
    return found
  }

  /** What a manifest is called if it is there and its subject is `wanted`. */
  async #referring(repository: string, revision: Digest, wanted: string): Promise<Descriptor | undefined> {
    const { subject, descriptor } = (await this.#reference(repository, revision)) ?? {}
    if (subject !== wanted || descriptor === undefined) return undefined
    return (await this.#manifests.has(repository, revision)) ? descriptor : undefined
  }

  async #reference(repository: string, revision: Digest): Promise<Reference | undefined> {
    const key = formatDigest(revision)
    const kept = this.#kept.get(key)
    if (kept !== undefined) return kept
    const bytes = await readIntact(this.#manifests, repository, revision)
    if (bytes === undefined) return undefined
    const reference = referenceOf(key, bytes)
    this.#keep(key, reference)
    return reference
  }

  #keep(key: string, reference: Reference): void {
    this.#kept.set(key, reference)
    this.#keptBytes += reference.costBytes
    for (const [oldest, { costBytes }] of this.#kept) {
      if (this.#keptBytes <= CACHE_BYTES) break
      this.#kept.delete(oldest)
      this.#keptBytes -= costBytes
    }
  }
}

/** A damaged manifest refers to nothing; it must not hide the others. */
async function readIntact(
  manifests: ManifestStore,
  repository: string,
  digest: Digest,
): Promise<Uint8Array | undefined> {
  try {
    return await manifests.read(repository, digest)
  } catch (error) {
    if (error instanceof RegistryError) return undefined
    throw error
  }
}

function referenceOf(digest: string, bytes: Uint8Array): Reference {
  let manifest: Manifest
  try {
    manifest = parseManifest(bytes)
  } catch {
    // Of a type that has no subject, such as Docker's schema 1.
    return { subject: undefined, descriptor: undefined, costBytes: 256 }
  }
  if (manifest.subject === undefined) return { subject: undefined, descriptor: undefined, costBytes: 256 }
  const artifactType = manifest.artifactType ?? manifest.config?.mediaType
  const descriptor: Descriptor = {
    mediaType: manifest.mediaType,
    digest,
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  }
  return { subject: manifest.subject.digest, descriptor, costBytes: 512 + JSON.stringify(descriptor).length }
}
