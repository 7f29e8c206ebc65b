import { type Digest, digestOf, formatDigest, MEDIA_TYPES, parseDigest, parseManifest } from '@shoal/core'
import { Collection, type CollectionOptions } from '../../../src/gc/collection.ts'
import { BlobStore } from '../../../src/storage/blobs.ts'
import { ContentUses, UseMemory } from '../../../src/storage/content-uses.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { ManifestStore } from '../../../src/storage/manifests.ts'
import { MemoryDriver } from '../../../src/storage/memory.ts'
import { Turns } from '../../../src/storage/turns.ts'
import { UploadStore } from '../../../src/storage/uploads.ts'
import { verifyStorage } from '../../../src/verify.ts'
import { content, descriptor } from '../../running-registry.ts'

export const HOUR_MS = 3_600_000
export const REMOVE: CollectionOptions = { graceMs: HOUR_MS, untagged: 'remove', isDryRun: false }
export const LAYER = 'application/vnd.oci.image.layer.v1.tar'

/** A registry's stores, as clients use them, and a clock that can be put forward. */
export class World {
  /** Ahead of the files' own times. */
  aheadMs = 0
  readonly now = () => Date.now() + this.aheadMs
  readonly uses = new ContentUses(new UseMemory({ now: this.now, knownSinceMs: 0 }))
  readonly turns = new Turns()
  readonly driver: StorageDriver = new MemoryDriver(2 ** 20)
  readonly blobs = new BlobStore(this.driver, this.uses)
  readonly manifests = new ManifestStore(this.driver, this.uses)
  readonly #uploads = new UploadStore(this.driver, this.blobs, { received: () => {} })

  async blob(repository: string, bytes: Buffer): Promise<Digest> {
    const digest = parseDigest(digestOf(bytes))
    const id = await this.#uploads.start(repository)
    await this.#uploads.commit(repository, id, digest, { body: [bytes] as unknown as AsyncIterable<Uint8Array> })
    return digest
  }

  /** As a client that does not push what is there; resolves when it is confirmed. */
  async image(repository: string, seed: string, more: object = {}, tag?: string): Promise<Digest> {
    const parts = [content(`${seed} config`, 100), content(`${seed} layer`, 1000)] as const
    for (const bytes of parts) {
      const isThere = (await this.blobs.sizeOf(repository, parseDigest(digestOf(bytes)))) !== undefined
      if (!isThere) await this.blob(repository, bytes)
    }
    const [config, layer] = parts
    const image = { config: descriptor(MEDIA_TYPES.ociConfig, config), layers: [descriptor(LAYER, layer)], ...more }
    return this.manifest(repository, { mediaType: MEDIA_TYPES.ociManifest, ...image }, tag)
  }

  async manifest(repository: string, manifest: object, tag?: string): Promise<Digest> {
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, ...manifest }))
    const digest = parseDigest(digestOf(bytes))
    const { config, layers, manifests } = parseManifest(bytes)
    await this.turns.take(repository, async () => {
      for (const { digest: text } of [...(config === undefined ? [] : [config]), ...layers]) {
        if ((await this.blobs.sizeOf(repository, parseDigest(text))) === undefined)
          throw new Error(`${text} is not held`)
      }
      for (const { digest: text } of manifests) {
        if (!(await this.manifests.has(repository, parseDigest(text)))) throw new Error(`${text} is not held`)
      }
      await this.manifests.put(repository, digest, bytes)
      if (tag !== undefined) await this.manifests.tag(repository, tag, digest)
    })
    return digest
  }

  collect(options = REMOVE, driver = this.driver) {
    const { uses, turns, now } = this
    return new Collection(options, { driver, uses, turns, now }).run(new AbortController().signal)
  }

  /** What `verify` finds: missing parts, tags that point at nothing. */
  async findings(): Promise<string[]> {
    const found: string[] = []
    await verifyStorage(this.driver, { found: ({ kind, where, why }) => found.push(`${kind} ${where} ${why}`) })
    return found
  }

  async held(repository: string): Promise<string[]> {
    const digests = await this.manifests.revisions(repository)
    const held = await Promise.all(digests.map((digest) => this.manifests.links(repository, digest)))
    return digests.filter((_, at) => held[at]).map(formatDigest)
  }
}
