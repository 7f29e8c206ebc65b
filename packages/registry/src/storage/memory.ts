import type { ByteRange } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { Appender, StorageDriver, StoredFile, StoredStat } from './driver.ts'

interface File {
  chunks: Uint8Array[]
  sizeBytes: number
  modifiedAtMs: number
}

interface Folder {
  readonly children: Map<string, Entry>
  readonly modifiedAtMs: number
}

type Entry = File | Folder

/** Files in the memory of this process, for registries whose content need not outlive it. */
export class MemoryDriver implements StorageDriver {
  readonly #maxBytes: number
  readonly #root: Folder = newFolder()
  #usedBytes = 0

  /** @param maxBytes of all files together; a write beyond fails */
  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  async stat(path: string): Promise<StoredStat | undefined> {
    const entry = this.#entry(path)
    if (entry === undefined) return undefined
    const isFolder = 'children' in entry
    return { isFolder, sizeBytes: isFolder ? 0 : entry.sizeBytes, modifiedAtMs: entry.modifiedAtMs }
  }

  async read(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    const file = this.#file(path)
    if (file === undefined) return undefined
    if (file.sizeBytes > maxBytes) {
      throw new RegistryError(
        'UNKNOWN',
        `the stored file ${path} has ${file.sizeBytes} bytes where at most ${maxBytes} can be`,
      )
    }
    return Buffer.concat(file.chunks)
  }

  async write(path: string, content: Uint8Array | string): Promise<void> {
    // A copy: the caller may use its buffer again.
    const bytes = Uint8Array.from(Buffer.from(content as string))
    const file = { chunks: [bytes], sizeBytes: bytes.byteLength, modifiedAtMs: Date.now() }
    this.#take(bytes.byteLength)
    this.#put(path, file)
  }

  async open(path: string): Promise<StoredFile | undefined> {
    const file = this.#file(path)
    return file === undefined ? undefined : new OpenFile([...file.chunks], file.sizeBytes)
  }

  async append(path: string): Promise<Appender> {
    const found = this.#file(path)
    const file = found ?? { chunks: [], sizeBytes: 0, modifiedAtMs: Date.now() }
    if (found === undefined) this.#put(path, file)
    const take = (bytes: number) => this.#take(bytes)
    return {
      get offset() {
        return file.sizeBytes
      },
      write: async (chunks) => {
        for (const chunk of chunks) {
          take(chunk.byteLength)
          file.chunks.push(Uint8Array.from(chunk))
          file.sizeBytes += chunk.byteLength
        }
        file.modifiedAtMs = Date.now()
      },
      commit: async () => {},
      close: async () => {},
    }
  }

  async move(from: string, to: string): Promise<void> {
    const file = this.#file(from)
    if (file === undefined) throw new RegistryError('UNKNOWN', `there is no stored file ${from} to be moved`)
    this.#detach(from)
    this.#put(to, file)
  }

  async list(path: string): Promise<string[]> {
    const entry = path === '' ? this.#root : this.#entry(path)
    return entry !== undefined && 'children' in entry ? [...entry.children.keys()].sort() : []
  }

  async remove(path: string): Promise<void> {
    const removed = this.#detach(path)
    if (removed !== undefined) this.#usedBytes -= bytesOf(removed)
  }

  #take(bytes: number): void {
    if (this.#usedBytes + bytes > this.#maxBytes) {
      throw new RegistryError('UNAVAILABLE', 'the registry keeps its content in memory, and that is full: delete some')
    }
    this.#usedBytes += bytes
  }

  #entry(path: string): Entry | undefined {
    let entry: Entry | undefined = this.#root
    for (const name of path.split('/')) {
      if (entry === undefined || !('children' in entry)) return undefined
      entry = entry.children.get(name)
    }
    return entry
  }

  #file(path: string): File | undefined {
    const entry = this.#entry(path)
    return entry === undefined || 'children' in entry ? undefined : entry
  }

  #put(path: string, file: File): void {
    const parts = path.split('/')
    const name = parts.pop() ?? ''
    let folder = this.#root
    for (const part of parts) {
      let next = folder.children.get(part)
      if (next === undefined) {
        next = newFolder()
        folder.children.set(part, next)
      }
      if (!('children' in next)) throw new RegistryError('UNKNOWN', `${part} in ${path} is a stored file, not a folder`)
      folder = next
    }
    const before = folder.children.get(name)
    if (before !== undefined && 'children' in before) {
      throw new RegistryError('UNKNOWN', `${path} is a folder, not a stored file`)
    }
    this.#usedBytes -= before?.sizeBytes ?? 0
    folder.children.set(name, file)
  }

  /** Takes an entry out of its folder. */
  #detach(path: string): Entry | undefined {
    const at = path.lastIndexOf('/')
    const folder = at === -1 ? this.#root : this.#entry(path.slice(0, at))
    if (folder === undefined || !('children' in folder)) return undefined
    const name = path.slice(at + 1)
    const entry = folder.children.get(name)
    folder.children.delete(name)
    return entry
  }
}

class OpenFile implements StoredFile {
  readonly sizeBytes: number
  readonly #chunks: readonly Uint8Array[]

  constructor(chunks: readonly Uint8Array[], sizeBytes: number) {
    this.#chunks = chunks
    this.sizeBytes = sizeBytes
  }

  async *chunks({ start, end }: ByteRange): AsyncGenerator<Uint8Array> {
    let offset = 0
    for (const chunk of this.#chunks) {
      const part = chunk.subarray(Math.max(0, start - offset), Math.max(0, end + 1 - offset))
      offset += chunk.byteLength
      if (part.byteLength > 0) yield part
    }
    if (end >= offset) throw new RegistryError('UNKNOWN', `a stored file ends at byte ${offset}, before it should`)
  }

  async close(): Promise<void> {}
}

function newFolder(): Folder {
  return { children: new Map(), modifiedAtMs: Date.now() }
}

function bytesOf(entry: Entry): number {
  if (!('children' in entry)) return entry.sizeBytes
  let sum = 0
  for (const child of entry.children.values()) sum += bytesOf(child)
  return sum
}
