import { type Descriptor, type Digest, formatDigest, type Manifest, parseManifest } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { References } from '../gc/liveness.ts'
import { referencesIn } from '../gc/references.ts'
import type { ManifestStore } from '../storage/manifests.ts'

/** What lists and collection need to know of a manifest. It never changes, as the manifest does not. */
export interface ManifestFacts {
  /** What it names; undefined for one that can not be read, so that nobody can say what it needs. */
  readonly references?: References
  /** What the manifest is called in lists of referrers; of those with a subject. */
  readonly descriptor?: Descriptor
}

/** Keeps facts once they are known. */
export interface FactsShelf {
  /** By digest. */
  get(digest: string): Promise<ManifestFacts | undefined>
  put(digest: string, facts: ManifestFacts): Promise<void>
}

/** The facts of a manifest that the repository holds; undefined when it does not, or holds it damaged. */
export async function factsIn(
  { manifests, facts: shelf }: { readonly manifests: ManifestStore; readonly facts: FactsShelf },
  repository: string,
  digest: Digest,
): Promise<ManifestFacts | undefined> {
  const key = formatDigest(digest)
  const known = await shelf.get(key)
  if (known !== undefined) return known
  const bytes = await readIntact(manifests, repository, digest)
  if (bytes === undefined) return undefined
  const facts = factsOf(key, bytes)
  await shelf.put(key, facts)
  return facts
}

/** @param bytes of the manifest, which have the digest */
export function factsOf(digest: string, bytes: Uint8Array): ManifestFacts {
  let manifest: Manifest
  try {
    manifest = parseManifest(bytes)
  } catch {
    // Of a type that has no subject, such as Docker's schema 1.
    return {}
  }
  const references = referencesIn(manifest)
  if (references.subject === undefined) return { references }
  const artifactType = manifest.artifactType ?? manifest.config?.mediaType
  const descriptor: Descriptor = {
    mediaType: manifest.mediaType,
    digest,
    size: bytes.byteLength,
    ...(artifactType === undefined ? {} : { artifactType }),
    ...(manifest.annotations === undefined ? {} : { annotations: manifest.annotations }),
  }
  return { references, descriptor }
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
