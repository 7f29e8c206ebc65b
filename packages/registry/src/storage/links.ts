import { type Digest, formatDigest, tryParseDigest } from '@shoal/core'
import type { StorageDriver } from './driver.ts'

const MAX_LINK_BYTES = 256

/** The digest that a link file holds; undefined when there is no link, or (after a crash of another registry) an empty one. */
export async function readLink(driver: StorageDriver, path: string): Promise<Digest | undefined> {
  const bytes = await driver.read(path, MAX_LINK_BYTES)
  return bytes === undefined ? undefined : tryParseDigest(new TextDecoder().decode(bytes).trim())
}

/** Writes a link file: the bare digest, no newline. */
export async function writeLink(driver: StorageDriver, path: string, target: Digest): Promise<void> {
  await driver.write(path, formatDigest(target))
}

/** The digests that folders, one for each algorithm, have names of; of each algorithm in ASCII order. */
export async function listDigests(driver: StorageDriver, folder: (algorithm: string) => string): Promise<Digest[]> {
  const digests: Digest[] = []
  for (const algorithm of ['sha256', 'sha512']) {
    for (const hex of await driver.list(folder(algorithm))) {
      const digest = tryParseDigest(`${algorithm}:${hex}`)
      if (digest !== undefined) digests.push(digest)
    }
  }
  return digests
}
