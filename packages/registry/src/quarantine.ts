import type { Digest } from '@shoal/core'
import { hashFile } from './backup/copy.ts'
import type { StorageDriver } from './storage/driver.ts'
import { blobPath, quarantinePath } from './storage/paths.ts'

/**
 * Takes a damaged content out of the way, so that it is not there and a push, or in a cache the next pull, brings it
 * again: a registry serves what it has, and takes a push of it for done. Returns where it is now, a path of the storage;
 * undefined when it is not damaged any more.
 */
export async function quarantine(driver: StorageDriver, digest: Digest): Promise<string | undefined> {
  const [path, aside] = [blobPath(digest), quarantinePath(digest)]
  await driver.move(path, aside)
  const { digests } = await hashFile(driver, aside, [digest.algorithm])
  if (digests[digest.algorithm] === digest.hex) {
    // Somebody has pushed it anew meanwhile.
    await driver.move(aside, path)
    return undefined
  }
  return aside
}
