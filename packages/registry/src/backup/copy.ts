import { createHash, type Hash } from 'node:crypto'
import { RegistryError } from '../errors.ts'
import type { StorageDriver } from '../storage/driver.ts'

/** What was copied. */
export interface Copied {
  readonly sizeBytes: number
  /** Hex, of each that was asked for. */
  readonly digests: Readonly<Record<string, string>>
}

/** What is copied, and where to. */
interface Copying {
  readonly from: StorageDriver
  readonly path: string
  readonly to: StorageDriver
  /** What it is called there; as it is here when left out. */
  readonly as?: string
}

/** Copies a file, whole or not at all: `isRight` has seen its digests before it gets its name. One copy of it at a time. */
export async function copyFile(
  { from, path, to, as = path }: Copying,
  algorithms: readonly string[],
  isRight: (copied: Copied) => void,
): Promise<Copied> {
  const incoming = `incoming/${as.replaceAll('/', '_')}`
  await to.remove(incoming)
  const hashes = hashesOf(algorithms)
  const appender = await to.append(incoming)
  let sizeBytes = 0
  try {
    for await (const chunk of chunksOf(from, path)) {
      for (const hash of hashes.values()) hash.update(chunk)
      sizeBytes += chunk.byteLength
      // The source may use the buffer again, a target that gathers parts may not have sent it.
      await appender.write([new Uint8Array(chunk)])
    }
    await appender.commit()
  } finally {
    await appender.close()
  }
  const copied = { sizeBytes, digests: digestsOf(hashes) }
  isRight(copied)
  await to.move(incoming, as)
  return copied
}

/** The digests of a stored file. */
export async function hashFile(storage: StorageDriver, path: string, algorithms: readonly string[]): Promise<Copied> {
  const hashes = hashesOf(algorithms)
  let sizeBytes = 0
  for await (const chunk of chunksOf(storage, path)) {
    for (const hash of hashes.values()) hash.update(chunk)
    sizeBytes += chunk.byteLength
  }
  return { sizeBytes, digests: digestsOf(hashes) }
}

async function* chunksOf(storage: StorageDriver, path: string): AsyncGenerator<Uint8Array> {
  const file = await storage.open(path)
  if (file === undefined) throw new RegistryError('UNKNOWN', `there is no ${path}`)
  try {
    if (file.sizeBytes > 0) yield* file.chunks({ start: 0, end: file.sizeBytes - 1 })
  } finally {
    await file.close()
  }
}

function hashesOf(algorithms: readonly string[]): ReadonlyMap<string, Hash> {
  return new Map([...new Set(algorithms)].map((algorithm) => [algorithm, createHash(algorithm)]))
}

function digestsOf(hashes: ReadonlyMap<string, Hash>): Record<string, string> {
  return Object.fromEntries([...hashes].map(([algorithm, hash]) => [algorithm, hash.digest('hex')]))
}
