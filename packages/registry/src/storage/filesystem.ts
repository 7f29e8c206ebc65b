import type { Stats } from 'node:fs'
import { type FileHandle, mkdir, open, readdir, rename, rm, stat } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { type ByteRange, syncFolder, systemErrorCode, writeFileAtomic } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { Appender, StorageDriver, StoredFile, StoredStat } from './driver.ts'
import { ReadBuffers } from './read-buffers.ts'

const MAX_TRIES = 8
const ABSENT: ReadonlySet<string | undefined> = new Set(['ENOENT', 'ENOTDIR', 'EISDIR'])

/** Files under a folder of this machine. */
export class FilesystemDriver implements StorageDriver {
  readonly #root: string
  readonly #buffers = new ReadBuffers()

  /** @param root folder that the paths are relative to */
  constructor(root: string) {
    this.#root = root
  }

  async stat(path: string): Promise<StoredStat | undefined> {
    const found = await absentAsUndefined(stat(join(this.#root, path)))
    if (found === undefined) return undefined
    const isFolder = found.isDirectory()
    const { mtimeMs: modifiedAtMs, ctimeMs: changedAtMs } = found
    return { isFolder, sizeBytes: isFolder ? 0 : found.size, modifiedAtMs, changedAtMs }
  }

  async read(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    const handle = await this.#openFile(path)
    if (handle === undefined) return undefined
    try {
      const { size } = await handle.stat()
      if (size > maxBytes) {
        throw new RegistryError('UNKNOWN', `the stored file ${path} has ${size} bytes where at most ${maxBytes} can be`)
      }
      return await handle.readFile()
    } finally {
      await handle.close()
    }
  }

  async write(path: string, content: Uint8Array | string): Promise<void> {
    const target = join(this.#root, path)
    await withFolder(target, () => writeFileAtomic(target, content))
  }

  async open(path: string): Promise<StoredFile | undefined> {
    const handle = await this.#openFile(path)
    if (handle === undefined) return undefined
    try {
      return new OpenFile(handle, await handle.stat(), this.#buffers)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  async append(path: string): Promise<Appender> {
    const target = join(this.#root, path)
    const handle = await withFolder(target, () => open(target, 'a'))
    try {
      return new FileAppender(handle, (await handle.stat()).size)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  async move(from: string, to: string): Promise<void> {
    const target = join(this.#root, to)
    await withFolder(target, () => rename(join(this.#root, from), target))
    await syncFolder(dirname(target))
  }

  async list(path: string): Promise<string[]> {
    const names = await absentAsUndefined(readdir(join(this.#root, path)))
    return names?.sort() ?? []
  }

  async remove(path: string): Promise<void> {
    await absentAsUndefined(
      rm(join(this.#root, path), { recursive: true, force: true, maxRetries: MAX_TRIES, retryDelay: 5 }),
    )
  }

  async #openFile(path: string): Promise<FileHandle | undefined> {
    const handle = await absentAsUndefined(open(join(this.#root, path), 'r'))
    if (handle === undefined) return undefined
    let isFile = false
    try {
      isFile = (await handle.stat()).isFile()
    } finally {
      if (!isFile) await handle.close()
    }
    return isFile ? handle : undefined
  }
}

class OpenFile implements StoredFile {
  readonly sizeBytes: number
  readonly changedAtMs: number
  readonly #handle: FileHandle
  readonly #buffers: ReadBuffers

  constructor(handle: FileHandle, { size, ctimeMs }: Pick<Stats, 'size' | 'ctimeMs'>, buffers: ReadBuffers) {
    this.#handle = handle
    this.sizeBytes = size
    this.changedAtMs = ctimeMs
    this.#buffers = buffers
  }

  /** With two buffers one is with the consumer while the other is being filled. */
  async *chunks({ start, end }: ByteRange): AsyncGenerator<Uint8Array> {
    let buffer = this.#buffers.take(end - start + 1)
    let spare = end - start < buffer.byteLength ? undefined : this.#buffers.takeSpare()
    let ahead: Promise<Uint8Array> | undefined
    let isOver = false
    try {
      for (let position = start; position <= end; ) {
        const chunk = await (ahead ?? this.#fill(buffer, position, end))
        position += chunk.byteLength
        if (spare !== undefined && position <= end) {
          const free = spare
          spare = buffer
          buffer = free
          ahead = this.#fill(buffer, position, end)
          // The consumer may leave before it is awaited; closing the file waits for the read itself.
          ahead.catch(() => {})
        }
        yield chunk
      }
      isOver = true
    } finally {
      // Who leaves early may have left its chunk on the way to a client, and the next one is being read.
      this.#buffers.giveBack(buffer, isOver)
      if (spare !== undefined) this.#buffers.giveBack(spare, isOver)
    }
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }

  async #fill(buffer: Buffer<ArrayBuffer>, position: number, end: number): Promise<Uint8Array> {
    const { bytesRead } = await this.#handle.read(buffer, 0, Math.min(buffer.byteLength, end - position + 1), position)
    if (bytesRead === 0) throw new RegistryError('UNKNOWN', `a stored file ends at byte ${position}, before it should`)
    return buffer.subarray(0, bytesRead)
  }
}

class FileAppender implements Appender {
  offset: number
  readonly #handle: FileHandle

  constructor(handle: FileHandle, offset: number) {
    this.#handle = handle
    this.offset = offset
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    let left = chunks
    while (left.length > 0) {
      const { bytesWritten } = await this.#handle.writev(left)
      this.offset += bytesWritten
      left = withoutFirst(left, bytesWritten)
    }
  }

  async commit(): Promise<void> {
    await this.#handle.datasync()
  }

  async close(): Promise<void> {
    await this.#handle.close()
  }
}

/** What is left of `chunks` when their first `bytes` bytes are gone: the system may write less than it was given. */
function withoutFirst(chunks: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const left: Uint8Array[] = []
  let skip = bytes
  for (const chunk of chunks) {
    if (skip < chunk.byteLength) left.push(skip === 0 ? chunk : chunk.subarray(skip))
    skip = Math.max(0, skip - chunk.byteLength)
  }
  return left
}

/**
 * Does `action` on `target`, making its folder when that is missing. It may vanish again meanwhile, when somebody
 * deletes what was in it, hence the tries.
 */
async function withFolder<T>(target: string, action: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      if (tries > 1) await makeFolder(dirname(target))
      return await action()
    } catch (error) {
      if (systemErrorCode(error) !== 'ENOENT' || tries === MAX_TRIES) throw error
    }
  }
}

/** Makes a folder and its parents, durably: a parent's entry for a new folder is on disk when this returns. */
async function makeFolder(folder: string): Promise<void> {
  const firstMade = await mkdir(folder, { recursive: true })
  if (firstMade === undefined) return
  for (let made = folder; made.length >= firstMade.length; made = dirname(made)) await syncFolder(dirname(made))
}

async function absentAsUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise
  } catch (error) {
    if (ABSENT.has(systemErrorCode(error))) return undefined
    throw error
  }
}
