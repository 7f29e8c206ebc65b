import { lstat, opendir, readdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { CoreError, type DigestAlgorithm, parseDigest, systemErrorCode, tryParseDigest } from '@shoal/core'

const ALGORITHMS: readonly DigestAlgorithm[] = ['sha256', 'sha512']
const BLOBS = 'blobs'
const INGEST = 'ingest'

/** What tells a file from what had its name before. */
export interface Stamp {
  /** Bytes. */
  readonly size: number
  /** Size, time of change and inode in one: equal for the same bytes. */
  readonly key: string
}

/**
 * The folder in which containerd keeps content: a committed blob is `blobs/<algorithm>/<hex>`, renamed into place and
 * never changed; garbage collection unlinks it. Only read here. Source: containerd, plugins/content/local.
 */
export class ContentFolder {
  readonly path: string

  constructor(path: string) {
    this.path = resolve(path)
  }

  /** The folders whose entries come and go, outermost first. */
  get watched(): readonly string[] {
    const blobs = join(this.path, BLOBS)
    return [this.path, blobs, ...ALGORITHMS.map((algorithm) => join(blobs, algorithm))]
  }

  /** The digest that the entry `name` of one of the watched folders stands for; undefined when it is no blob. */
  digestOf(folder: string, name: string): string | undefined {
    const algorithm = ALGORITHMS.find((of) => join(this.path, BLOBS, of) === folder)
    const digest = `${algorithm}:${name}`
    return tryParseDigest(digest) === undefined ? undefined : digest
  }

  file(digest: string): string {
    const { algorithm, hex } = parseDigest(digest)
    return join(this.path, BLOBS, algorithm, hex)
  }

  /** Whether the folder is there. Throws CoreError `CONFIG_INVALID` when it can not be read, or is another one. */
  async prove(): Promise<boolean> {
    try {
      const names = await readdir(this.path)
      if (names.length > 0 && !names.includes(BLOBS) && !names.includes(INGEST)) {
        throw new CoreError(
          'CONFIG_INVALID',
          `store.containerdContent: ${this.path} has neither ${BLOBS} nor ${INGEST}, so it is not containerd's content store: name the folder io.containerd.content.v1.content in containerd's root`,
        )
      }
      for (const folder of this.watched.slice(1)) await readdir(folder).catch(ignoreMissing)
      return true
    } catch (cause) {
      if (cause instanceof CoreError) throw cause
      if (systemErrorCode(cause) === 'ENOENT') return false
      throw new CoreError(
        'CONFIG_INVALID',
        `store.containerdContent: can not read ${this.path} (${systemErrorCode(cause) ?? 'unknown error'}): run the node as a user that may read it (containerd's folders belong to root), name another folder, or leave the option empty`,
        { cause },
      )
    }
  }

  /** Digests that the names of entries say. Throws the system's error when a folder that is there can not be read. */
  async *digests(): AsyncGenerator<string> {
    for (const folder of this.watched.slice(2)) {
      try {
        for await (const { name } of await opendir(folder)) {
          const digest = this.digestOf(folder, name)
          if (digest !== undefined) yield digest
        }
      } catch (error) {
        ignoreMissing(error)
      }
    }
  }

  /** What the blob's file is like now; undefined when there is none, or no regular one. */
  async stamp(digest: string): Promise<Stamp | undefined> {
    try {
      const entry = await lstat(this.file(digest), { bigint: true })
      if (!entry.isFile()) return undefined
      return { size: Number(entry.size), key: `${entry.size} ${entry.mtimeNs} ${entry.ino}` }
    } catch {
      return undefined
    }
  }
}

function ignoreMissing(error: unknown): void {
  if (systemErrorCode(error) !== 'ENOENT') throw error
}
