import {
  blobsOf,
  type Digest,
  digestOf,
  formatDigest,
  MAX_MANIFEST_BYTES,
  type Manifest,
  parseManifest,
  ShoalError,
} from '@shoal/core'
import type { StorageDriver } from '../storage/driver.ts'
import { blobPath } from '../storage/paths.ts'
import type { References } from './liveness.ts'

/** What a manifest names. */
export function referencesIn(manifest: Manifest): References {
  const children = manifest.manifests.map((each) => each.digest)
  const blobs = manifest.kind === 'index' ? children : blobsOf(manifest).map((each) => each.digest)
  return { children, blobs, subject: manifest.subject?.digest }
}

/** The bytes of a stored manifest; undefined when it is gone or damaged. Throws what the storage throws. */
export async function readContent(driver: StorageDriver, digest: Digest): Promise<Uint8Array | undefined> {
  try {
    const bytes = await driver.read(blobPath(digest), MAX_MANIFEST_BYTES)
    return bytes !== undefined && digestOf(bytes, digest.algorithm) === formatDigest(digest) ? bytes : undefined
  } catch (error) {
    // It is too large for one.
    if (error instanceof ShoalError) return undefined
    throw error
  }
}

/**
 * What a stored manifest names; undefined when it is gone, damaged or of a kind that can not be read, so that nobody can
 * say what it needs. Throws what the storage throws.
 */
export async function readReferences(driver: StorageDriver, digest: Digest): Promise<References | undefined> {
  const bytes = await readContent(driver, digest)
  try {
    return bytes && referencesIn(parseManifest(bytes))
  } catch (error) {
    if (error instanceof ShoalError) return undefined
    throw error
  }
}
