import { rm } from 'node:fs/promises'
import { createLogger, type Descriptor, type Digest } from '@shoal/core'
import { createMetricsRegistry } from '@shoal/core/service'
import { IndexDb } from '../../../src/listings/index-db.ts'
import { IndexedDriver } from '../../../src/listings/indexed-driver.ts'
import { ListingIndex } from '../../../src/listings/listing-index.ts'
import type { Listings } from '../../../src/listings/listings.ts'
import { createIndexMetrics } from '../../../src/listings/metrics.ts'
import { StoredListings } from '../../../src/listings/stored-listings.ts'
import { ContentUses } from '../../../src/storage/content-uses.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { ManifestStore } from '../../../src/storage/manifests.ts'
import { MemoryDriver } from '../../../src/storage/memory.ts'
import { temporaryFolder } from '../../running-registry.ts'

type Reading = 'stat' | 'read' | 'list'

/** A storage that counts how often it is looked at, and can be made to wait or fail. */
class WatchedDriver extends MemoryDriver {
  readonly looks: string[] = []
  /** Called before each look. */
  before: (what: Reading, path: string) => Promise<void> = async () => {}

  constructor() {
    super(2 ** 26)
  }

  override async stat(path: string) {
    await this.#look('stat', path)
    return super.stat(path)
  }

  override async read(path: string, maxBytes: number) {
    await this.#look('read', path)
    return super.read(path, maxBytes)
  }

  override async list(path: string) {
    await this.#look('list', path)
    return super.list(path)
  }

  async #look(what: Reading, path: string): Promise<void> {
    this.looks.push(`${what} ${path}`)
    await this.before(what, path)
  }
}

/** The index over a storage, and the storage itself to compare with. */
export class IndexWorld {
  readonly storage = new WatchedDriver()
  readonly uses = new ContentUses()
  readonly #folder: string
  index: ListingIndex
  /** What clients change the storage by. */
  driver: StorageDriver
  manifests: ManifestStore

  private constructor(folder: string) {
    this.#folder = folder
    this.index = this.#createIndex()
    this.driver = new IndexedDriver(this.storage, this.index)
    this.manifests = new ManifestStore(this.driver, this.uses)
  }

  static async start(): Promise<IndexWorld> {
    const world = new IndexWorld(await temporaryFolder())
    await world.index.start()
    return world
  }

  get folder(): string {
    return this.#folder
  }

  /** Stops the index and starts it anew, as a process does; `between` happens meanwhile. */
  async restart(between: () => Promise<unknown> = async () => {}): Promise<void> {
    await this.index.stop()
    await between()
    this.index = this.#createIndex()
    this.driver = new IndexedDriver(this.storage, this.index)
    this.manifests = new ManifestStore(this.driver, this.uses)
    await this.index.start()
  }

  async dispose(): Promise<void> {
    await this.index.stop()
    await rm(this.#folder, { recursive: true })
  }

  /** Lists by a walk over the storage, with nothing remembered. */
  stored(): Listings {
    const facts = { get: async () => undefined, put: async () => {} }
    const manifests = new ManifestStore(this.storage, new ContentUses())
    return new StoredListings({ driver: this.storage, manifests, facts })
  }

  #createIndex(): ListingIndex {
    const db = new IndexDb(this.#folder)
    return new ListingIndex({
      db,
      stored: new StoredListings({
        driver: this.storage,
        manifests: new ManifestStore(this.storage, this.uses),
        facts: db,
      }),
      driver: this.storage,
      manifests: new ManifestStore(this.storage, new ContentUses()),
      used: (digest) => this.uses.note(digest),
      metrics: createIndexMetrics(createMetricsRegistry()),
      log: createLogger('registry', 'silent'),
    })
  }
}

/** All that lists say of some repositories. */
export async function allOf(
  listings: Listings,
  repositories: readonly string[],
  subjects: readonly Digest[],
): Promise<object> {
  const of = async (repository: string) => ({
    tags: await listings.tags(repository, 1000),
    referrers: await Promise.all(subjects.map((subject) => referrersOf(listings, repository, subject))),
  })
  const each = await Promise.all(repositories.map(async (name) => [name, await of(name)] as const))
  return { names: await listings.repositories(1000), ...Object.fromEntries(each) }
}

export async function referrersOf(listings: Listings, repository: string, subject: Digest, after?: string) {
  const found: Descriptor[] = []
  for await (const descriptor of listings.referrers(repository, subject, after)) found.push(descriptor)
  return found.map(({ digest }) => digest)
}
