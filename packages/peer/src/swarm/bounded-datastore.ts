import { MemoryDatastore } from 'datastore-core/memory'
import { Key, type Pair, type Query } from 'interface-datastore'
import { type ProviderBounds, ProviderTable } from './provider-table.ts'

/** What others may fill: values of the DHT, which Shoal does not use, and what is known of nodes. */
const AREAS = [
  { prefix: '/dht/record/', entries: 256, bytes: 1024 * 1024 },
  { prefix: '/peers/', entries: 16_384, bytes: 16 * 1024 * 1024 },
] as const
const PROVIDERS = '/dht/provider'
/**
 * A node tells its 20 nearest of each of its blobs. In the smallest swarms, in which everybody is told of everything,
 * that is 8192 blobs of each node; a record takes some 300 bytes.
 */
const BOUNDS: ProviderBounds = { ofNode: 8192, ofBlob: 512, inAll: 65_536, named: 64 }

/**
 * Where libp2p keeps what it hears of others: in memory, bounded whoever sends it, and found by blob without a look at
 * every record. Old records go by the DHT's own rules.
 */
export class BoundedDatastore extends MemoryDatastore {
  readonly #providers: ProviderTable
  readonly #areas = AREAS.map((bounds) => ({ ...bounds, sizes: new Map<string, number>(), sum: 0 }))

  constructor(ownPeerId: string, random: () => number, bounds: ProviderBounds = BOUNDS) {
    super()
    this.#providers = new ProviderTable(bounds, ownPeerId, random)
  }

  /** Provider records of other nodes. */
  get providerCount(): number {
    return this.#providers.count
  }

  override put(key: Key, value: Uint8Array): Key {
    const record = providerOf(key)
    if (record !== undefined) this.#providers.put(...record, value)
    else this.#keep(key, value)
    return key
  }

  override get(key: Key): Uint8Array | Promise<Uint8Array> {
    const record = providerOf(key)
    return (record === undefined ? undefined : this.#providers.get(...record)) ?? super.get(key)
  }

  override has(key: Key): boolean | Promise<boolean> {
    const record = providerOf(key)
    return record === undefined ? super.has(key) : this.#providers.get(...record) !== undefined
  }

  override delete(key: Key): void | Promise<void> {
    const record = providerOf(key)
    if (record !== undefined) {
      this.#providers.delete(...record)
      return
    }
    this.#forget(key.toString())
    return super.delete(key)
  }

  override *_all(query: Query): Generator<Pair> {
    const { prefix = '' } = query
    if (!prefix.startsWith(PROVIDERS)) {
      yield* super._all(query) as Generator<Pair>
      return
    }
    const [blob] = prefix.slice(PROVIDERS.length + 1).split('/', 1)
    if (blob !== undefined && blob !== '') {
      for (const [node, value] of this.#providers.of(blob)) yield { key: keyOf(blob, node), value }
    } else {
      for (const [one, node, value] of this.#providers.all()) yield { key: keyOf(one, node), value }
    }
  }

  /** Puts an entry, of which the oldest of its area make room. */
  #keep(key: Key, value: Uint8Array): void {
    const text = key.toString()
    this.#forget(text)
    super.put(key, value)
    const area = this.#areas.find(({ prefix }) => text.startsWith(prefix))
    if (area === undefined) return
    area.sizes.set(text, value.byteLength)
    area.sum += value.byteLength
    for (const oldest of area.sizes.keys()) {
      if (area.sizes.size <= area.entries && area.sum <= area.bytes) break
      void this.delete(new Key(oldest))
    }
  }

  #forget(key: string): void {
    for (const area of this.#areas) {
      area.sum -= area.sizes.get(key) ?? 0
      area.sizes.delete(key)
    }
  }
}

function keyOf(blob: string, node: string): Key {
  return new Key(`${PROVIDERS}/${blob}/${node}`)
}

/** The blob and the node of a provider record's key; undefined: it is none. */
function providerOf(key: Key): [blob: string, node: string] | undefined {
  const text = key.toString()
  if (!text.startsWith(`${PROVIDERS}/`)) return undefined
  const [blob, node, ...more] = text.slice(PROVIDERS.length + 1).split('/')
  return blob === undefined || node === undefined || more.length > 0 ? undefined : [blob, node]
}
