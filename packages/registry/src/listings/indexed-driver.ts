import type { Appender, StorageDriver, StoredFile, StoredStat } from '../storage/driver.ts'
import { placeOf } from '../storage/paths.ts'
import type { ListingIndex } from './listing-index.ts'

/** What is told of changes of the storage. */
type Followers = Pick<
  ListingIndex,
  'held' | 'tagged' | 'untagged' | 'linked' | 'unlinked' | 'stored' | 'removed' | 'doubted' | 'forgetAll'
>

/** Tells the index of every change of the storage, once it is made and before its caller goes on. */
export class IndexedDriver implements StorageDriver {
  readonly #driver: StorageDriver
  readonly #index: Followers
  readonly presign?: (path: string, seconds: number) => Promise<string | undefined>

  constructor(driver: StorageDriver, index: Followers) {
    this.#driver = driver
    this.#index = index
    const { presign } = driver
    if (presign !== undefined) this.presign = (path, seconds) => presign.call(driver, path, seconds)
  }

  stat(path: string): Promise<StoredStat | undefined> {
    return this.#driver.stat(path)
  }

  read(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
    return this.#driver.read(path, maxBytes)
  }

  open(path: string): Promise<StoredFile | undefined> {
    return this.#driver.open(path)
  }

  append(path: string): Promise<Appender> {
    return this.#driver.append(path)
  }

  list(path: string): Promise<string[]> {
    return this.#driver.list(path)
  }

  async write(path: string, content: Uint8Array | string): Promise<void> {
    await this.#change(path, () => this.#driver.write(path, content))
    const place = placeOf(path)
    // A content that is written at once is a manifest's: those of blobs grow, and are moved.
    if (place.kind === 'content') await this.#index.stored(place.digest, Buffer.from(content))
    else await this.#put(path)
  }

  async move(from: string, to: string): Promise<void> {
    await this.#change(to, () => this.#driver.move(from, to))
    await this.#put(to)
  }

  async remove(path: string): Promise<void> {
    await this.#change(path, () => this.#driver.remove(path))
    const place = placeOf(path)
    if (place.kind === 'tag') await this.#index.untagged(place.repository, place.tag)
    else if (place.kind === 'revision') await this.#index.unlinked(place.repository, place.digest)
    else if (place.kind === 'content') await this.#index.removed(place.digest)
    else if (place.kind === 'many') this.#index.forgetAll()
  }

  async #put(path: string): Promise<void> {
    const place = placeOf(path)
    if (place.kind === 'tag') await this.#index.tagged(place.repository, place.tag)
    else if (place.kind === 'revision') await this.#index.linked(place.repository, place.digest)
    else if (place.kind === 'held') await this.#index.held(place.repository)
  }

  /** A change that fails may have been made by half. */
  async #change(path: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      const place = placeOf(path)
      if ('repository' in place) await this.#index.doubted(place.repository)
      else if (place.kind === 'many') this.#index.forgetAll()
      throw error
    }
  }
}
