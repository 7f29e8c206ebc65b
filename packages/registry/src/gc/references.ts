import {
  blobsOf,
  type Digest,
  digestOf,
  formatDigest,
  MAX_MANIFEST_BYTES,
  parseManifest,
  ShoalError,
} from '@shoal/core'
import type { StorageDriver } from '../storage/driver.ts'
import { blobPath } from '../storage/paths.ts'
import type { References } from './liveness.ts'

/**
 * What a stored manifest names; undefined when it is gone, damaged or of a kind that can not be read, so that nobody can
 * say what it needs. Throws what the storage throws.
 */
export async function readReferences(driver: StorageDriver, digest: Digest): Promise<References | undefined> {
  try {
    const bytes = await driver.read(blobPath(digest), MAX_MANIFEST_BYTES)
    if (bytes === undefined || digestOf(bytes, digest.algorithm) !== formatDigest(digest)) return undefined
    const manifest = parseManifest(bytes)
    const children = manifest.manifests.map((each) => each.digest)
    const blobs = manifest.kind === 'index' ? children : blobsOf(manifest).map((each) => each.digest)
    return { children, blobs, subject: manifest.subject?.digest }
  } catch (error) {
    if (error instanceof ShoalError) return undefined
    throw error
  }
}
