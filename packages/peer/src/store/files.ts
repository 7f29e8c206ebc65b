import { lstat, mkdir, open, opendir, readdir, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type DigestAlgorithm, keepToOwner, OWNER_ONLY, parseDigest, syncFolder, tryParseDigest } from '@shoal/core'
import { storeIoError } from './errors.ts'
import { RECORDS_SUFFIX } from './piece-records.ts'

const ALGORITHMS: readonly DigestAlgorithm[] = ['sha256', 'sha512']

/** A file with a blob's final name. */
export interface NamedFile {
  readonly digest: string
  readonly file: string
}

/**
 * The store's files. A blob in part is `partial/<algorithm>-<hex>`, with the records of its pieces beside it; whole and
 * verified it is `blobs/<algorithm>/<first two hex>/<hex>`.
 */
export class BlobFiles {
  readonly #partial: string
  readonly #blobs: string
  readonly #madeFolders = new Set<string>()

  constructor(dataDir: string) {
    this.#partial = join(dataDir, 'partial')
    this.#blobs = join(dataDir, 'blobs')
  }

  /** Makes the folders, for this user alone: what is in them may be private. Throws StoreError. */
  async prepare(): Promise<void> {
    for (const folder of [this.#partial, this.#blobs]) {
      try {
        await mkdir(folder, { recursive: true, mode: OWNER_ONLY.folder })
        await keepToOwner(folder)
      } catch (cause) {
        throw storeIoError('make', folder, cause)
      }
    }
  }

  partialPath(digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.#partial, `${algorithm}-${hex}`)
  }

  finalPath(digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.#blobs, algorithm, hex.slice(0, 2), hex)
  }

  /**
   * Makes the file of a blob in part, as long as the blob and all zeros; returns its path. Throws StoreError.
   *
   * The file is sparse: Node has no fallocate, and writing zeros first would write every blob twice. The store keeps
   * room for all of it instead (room.ts); should another process take that room, a write fails with ENOSPC and
   * blobs are evicted then.
   */
  async createPartial(digest: string, size: number): Promise<string> {
    const file = this.partialPath(digest)
    try {
      const handle = await open(file, 'w', OWNER_ONLY.file)
      try {
        await handle.truncate(size)
      } finally {
        await handle.close()
      }
    } catch (cause) {
      await this.remove(file).catch(() => {})
      throw storeIoError('create', file, cause)
    }
    return file
  }

  /**
   * Gives a blob's bytes the final name; returns it. Throws StoreError.
   * @param isForced whether bytes and name are on the disk when this resolves; else a power cut may take both away
   */
  async publish(file: string, digest: string, isForced: boolean): Promise<string> {
    const target = this.finalPath(digest)
    try {
      if (isForced) await forceBytes(file)
      await this.#makeFolder(dirname(target))
      await rename(file, target)
      if (isForced) await syncFolder(dirname(target))
    } catch (cause) {
      throw storeIoError('publish', target, cause)
    }
    return target
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#madeFolders.has(folder)) return
    await mkdir(folder, { recursive: true, mode: OWNER_ONLY.folder })
    this.#madeFolders.add(folder)
  }

  /** Deletes a file that may be gone already. Throws StoreError. */
  async remove(file: string): Promise<void> {
    await rm(file, { force: true }).catch((cause: unknown) => {
      throw storeIoError('delete', file, cause)
    })
  }

  /** Deletes the files of blobs in part that are not `known`, and their records; returns how many files. */
  async removePartials(known: ReadonlySet<string>): Promise<number> {
    let count = 0
    for (const name of await readdir(this.#partial)) {
      const file = join(this.#partial, name)
      if (known.has(file.endsWith(RECORDS_SUFFIX) ? file.slice(0, -RECORDS_SUFFIX.length) : file)) continue
      await rm(file, { force: true, recursive: true })
      count++
    }
    return count
  }

  /** Deletes the whole blob that was written longest ago; false when there is none. */
  async removeOldest(): Promise<boolean> {
    let oldest: { readonly file: string; readonly writtenMs: number } | undefined
    for await (const { file } of this.named()) {
      const writtenMs = await lstat(file)
        .then(({ mtimeMs }) => mtimeMs)
        .catch(() => Number.POSITIVE_INFINITY)
      if (oldest === undefined || writtenMs < oldest.writtenMs) oldest = { file, writtenMs }
    }
    if (oldest === undefined) return false
    await this.remove(oldest.file)
    return true
  }

  /** All regular files that have a blob's final name; the digest is what the name says, not what was checked. */
  async *named(): AsyncGenerator<NamedFile> {
    for (const algorithm of ALGORITHMS) {
      for await (const folder of entriesOf(join(this.#blobs, algorithm))) {
        for await (const { name } of entriesOf(join(this.#blobs, algorithm, folder.name))) {
          const digest = `${algorithm}:${name}`
          if (tryParseDigest(digest) === undefined) continue
          const file = this.finalPath(digest)
          if (file === join(this.#blobs, algorithm, folder.name, name) && (await sizeOfFile(file)) !== undefined) {
            yield { digest, file }
          }
        }
      }
    }
  }
}

async function forceBytes(file: string): Promise<void> {
  const handle = await open(file, 'r+')
  try {
    await handle.datasync()
  } finally {
    await handle.close()
  }
}

/** Bytes of a regular file; undefined when there is none of that name. */
export async function sizeOfFile(file: string): Promise<number | undefined> {
  try {
    const entry = await lstat(file)
    return entry.isFile() ? entry.size : undefined
  } catch {
    return undefined
  }
}

async function* entriesOf(folder: string) {
  try {
    yield* await opendir(folder)
  } catch {
    // A folder that is not there, or goes meanwhile, has no entries.
  }
}
