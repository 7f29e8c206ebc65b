import type { ByteRange } from '@shoal/core'
import { RegistryError } from '../../errors.ts'
import type { Appender, StorageDriver, StoredFile, StoredStat } from '../driver.ts'
import type { ObjectStore } from './object-store.ts'

/** Requests that remove the objects of a folder at the same time. */
const REMOVALS = 16

/** Files as the objects of a bucket; a folder is there as long as there is an object below it. */
export class ObjectDriver implements StorageDriver {
  readonly #store: ObjectStore
  readonly #prefix: string

  /** @param prefix of all keys, `/` at its end; may be empty */
  constructor(store: ObjectStore, prefix: string) {
    this.#store = store
    this.#prefix = prefix
  }

  async stat(path: string): Promise<StoredStat | undefined> {
    const found = await this.#store.head(this.#key(path))
    if (found !== undefined) return { isFolder: false, ...found }
    for await (const { modifiedAtMs } of this.#store.list(`${this.#key(path)}/`, { isFolded: false, limit: 1 })) {
      return { isFolder: true, sizeBytes: 0, modifiedAtMs }
    }
    return undefined
  }

  async read(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    const content = await this.#store.get(this.#key(path))
    if (content === undefined) return undefined
    const { sizeBytes } = content
    if (sizeBytes > maxBytes) {
      content.discard()
      throw new RegistryError(
        'UNKNOWN',
        `the stored file ${path} has ${sizeBytes} bytes where at most ${maxBytes} can be`,
      )
    }
    const chunks: Uint8Array[] = []
    for await (const chunk of whole(content.body, sizeBytes)) chunks.push(chunk)
    return Buffer.concat(chunks)
  }

  async write(path: string, content: Uint8Array | string): Promise<void> {
    await this.#store.put(this.#key(path), Buffer.from(content as string))
  }

  async open(path: string): Promise<StoredFile | undefined> {
    const key = this.#key(path)
    const found = await this.#store.head(key)
    return found === undefined ? undefined : new ObjectFile(this.#store, key, found.sizeBytes)
  }

  append(path: string): Promise<Appender> {
    return this.#store.append(this.#key(path))
  }

  move(from: string, to: string): Promise<void> {
    return this.#store.move(this.#key(from), this.#key(to))
  }

  async list(path: string): Promise<string[]> {
    const prefix = path === '' ? this.#prefix : `${this.#key(path)}/`
    const names: string[] = []
    for await (const { key } of this.#store.list(prefix, { isFolded: true })) {
      const name = key.slice(prefix.length).replace(/\/$/, '')
      // An object whose key ends with `/` is what some tools make in place of a folder.
      if (name !== '') names.push(name)
    }
    return names.sort()
  }

  async remove(path: string): Promise<void> {
    const key = this.#key(path)
    await this.#store.remove(key)
    let removals: Promise<void>[] = []
    for await (const below of this.#store.list(`${key}/`, { isFolded: false })) {
      removals.push(this.#store.remove(below.key))
      if (removals.length < REMOVALS) continue
      await Promise.all(removals)
      removals = []
    }
    await Promise.all(removals)
  }

  presign(path: string, seconds: number): Promise<string | undefined> {
    return this.#store.presign(this.#key(path), seconds)
  }

  #key(path: string): string {
    return `${this.#prefix}${path}`
  }
}

class ObjectFile implements StoredFile {
  readonly sizeBytes: number
  readonly #store: ObjectStore
  readonly #key: string

  constructor(store: ObjectStore, key: string, sizeBytes: number) {
    this.#store = store
    this.#key = key
    this.sizeBytes = sizeBytes
  }

  async *chunks(range: ByteRange): AsyncGenerator<Uint8Array> {
    if (range.end >= this.sizeBytes) throw endsEarly(this.sizeBytes)
    const content = await this.#store.get(this.#key, range)
    if (content === undefined) throw new RegistryError('UNKNOWN', 'a stored file was removed while it was being read')
    yield* whole(content.body, range.end - range.start + 1)
  }

  async close(): Promise<void> {}
}

/** The chunks of `body`. Throws when they are not `bytes` bytes together. */
async function* whole(body: AsyncIterable<Uint8Array>, bytes: number): AsyncGenerator<Uint8Array> {
  let seen = 0
  for await (const chunk of body) {
    seen += chunk.byteLength
    if (seen > bytes)
      throw new RegistryError('UNKNOWN', `the object store sends more than the ${bytes} bytes asked for`)
    yield chunk
  }
  if (seen < bytes) throw endsEarly(seen)
}

function endsEarly(bytes: number): RegistryError {
  return new RegistryError('UNKNOWN', `a stored file ends at byte ${bytes}, before it should`)
}
