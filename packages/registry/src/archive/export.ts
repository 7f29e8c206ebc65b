import { once } from 'node:events'
import type { Writable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import {
  blobsOf,
  createDigestHash,
  type Descriptor,
  type Digest,
  formatDigest,
  type Manifest,
  MEDIA_TYPES,
  parseDigest,
  parseManifest,
} from '@shoal/core'
import { pack as newPack, type Pack } from 'tar-stream'
import { RegistryError } from '../errors.ts'
import type { FactsShelf, ManifestFacts } from '../listings/manifest-facts.ts'
import { StoredListings } from '../listings/stored-listings.ts'
import { BlobStore } from '../storage/blobs.ts'
import { ContentUses } from '../storage/content-uses.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { ManifestStore } from '../storage/manifests.ts'
import { type ImageName, isPlatform, type Platform } from './image-name.ts'
import {
  blobFile,
  CONTAINERD_NAME,
  DOCKER_FILE,
  type DockerImage,
  INDEX_FILE,
  LAYOUT,
  LAYOUT_FILE,
  REF_NAME,
} from './layout.ts'

/** What was written to, or read from, an archive, so far or in all. */
export interface ArchiveProgress {
  readonly images: number
  readonly blobs: number
  readonly bytes: number
}

interface ExportOptions {
  readonly images: readonly ImageName[]
  /** Of an index, only the image for it. */
  readonly platform?: Platform | undefined
  readonly progress?: (soFar: ArchiveProgress) => void
}

/** A content that goes into the archive. */
interface Part {
  readonly repository: string
  readonly digest: Digest
  readonly sizeBytes: number
  /** Of a manifest; undefined for blobs. */
  readonly bytes?: Uint8Array
}

/** An image that the archive names. */
interface Root {
  readonly descriptor: Descriptor
  readonly manifest: Manifest
  readonly name: string | undefined
}

/** Layers of such images can be loaded by Docker. */
const IMAGE_CONFIGS: ReadonlySet<string> = new Set([
  MEDIA_TYPES.ociConfig,
  'application/vnd.docker.container.image.v1+json',
])

/**
 * Writes images, with what refers to them (signatures, SBOMs), as a tar of an OCI image layout, which `docker load` reads
 * too as far as it holds images for one platform. The registry may run meanwhile. Every byte is checked against its
 * digest on the way.
 * @throws RegistryError `MANIFEST_UNKNOWN`, `BLOB_UNKNOWN` for what is not there, `UNKNOWN` for what is damaged
 */
export async function exportImages(
  driver: StorageDriver,
  to: Writable,
  options: ExportOptions,
): Promise<ArchiveProgress> {
  return new Export(driver, options).run(to)
}

class Export {
  readonly #blobs: BlobStore
  readonly #manifests: ManifestStore
  readonly #listings: StoredListings
  readonly #options: ExportOptions
  readonly #parts = new Map<string, Part>()
  readonly #roots: Root[] = []
  readonly #seen = { images: 0, blobs: 0, bytes: 0 }

  constructor(driver: StorageDriver, options: ExportOptions) {
    const uses = new ContentUses()
    this.#blobs = new BlobStore(driver, uses)
    this.#manifests = new ManifestStore(driver, uses)
    // Each manifest is asked what refers to it: without this all would be read for each.
    const known = new Map<string, ManifestFacts>()
    const facts: FactsShelf = {
      get: async (digest) => known.get(digest),
      put: async (digest, of) => void known.set(digest, of),
    }
    this.#listings = new StoredListings({ driver, manifests: this.#manifests, facts })
    this.#options = options
  }

  async run(to: Writable): Promise<ArchiveProgress> {
    for (const name of this.#options.images) await this.#addNamed(name)
    const pack = newPack()
    await Promise.all([pipeline(pack, to), this.#write(pack)])
    return { ...this.#seen }
  }

  async #addNamed({ repository, tag, digest }: ImageName): Promise<void> {
    if (digest !== undefined) return this.#addRoot(repository, digest)
    const tags = tag === undefined ? await this.#listings.tags(repository, Number.POSITIVE_INFINITY) : [tag]
    if (tags === undefined || tags.length === 0) {
      throw new RegistryError('NAME_UNKNOWN', `there is no repository ${repository}, or it has no tags`)
    }
    for (const each of tags) {
      const resolved = await this.#manifests.resolve(repository, { tag: each })
      if (resolved === undefined) throw new RegistryError('MANIFEST_UNKNOWN', `${repository} has no tag ${each}`)
      await this.#addRoot(repository, resolved, each)
    }
  }

  async #addRoot(repository: string, digest: Digest, tag?: string): Promise<void> {
    let [root, manifest] = [digest, await this.#read(repository, digest)]
    const { platform } = this.#options
    if (platform !== undefined && manifest.kind === 'index') {
      const child = manifest.manifests.find((each) => isPlatform(platform, each.platform))
      if (child === undefined) {
        const said = manifest.manifests.map((each) => `${each.platform?.os}/${each.platform?.architecture}`)
        throw new RegistryError(
          'MANIFEST_UNKNOWN',
          `${repository}@${formatDigest(digest)} has no image for that platform, but for ${said.slice(0, 20).join(', ')}`,
        )
      }
      root = parseDigest(child.digest)
      manifest = await this.#read(repository, root)
    }
    await this.#addManifest(repository, root)
    const sizeBytes = this.#parts.get(formatDigest(root))?.sizeBytes ?? 0
    const descriptor = { mediaType: manifest.mediaType, digest: formatDigest(root), size: sizeBytes }
    const name = tag === undefined ? undefined : `${repository}:${tag}`
    const annotations = tag === undefined || name === undefined ? {} : { [REF_NAME]: tag, [CONTAINERD_NAME]: name }
    this.#roots.push({ descriptor: { ...descriptor, annotations }, manifest, name })
    this.#seen.images++
  }

  /** A manifest, what it needs, and what refers to it. */
  async #addManifest(repository: string, digest: Digest): Promise<void> {
    const text = formatDigest(digest)
    if (this.#parts.has(text)) return
    const bytes = await this.#manifests.read(repository, digest)
    if (bytes === undefined) throw missing(repository, text)
    const manifest = parseManifest(bytes)
    this.#parts.set(text, { repository, digest, sizeBytes: bytes.byteLength, bytes })
    for (const child of manifest.manifests) {
      const held = await this.#manifests.has(repository, parseDigest(child.digest))
      await (held ? this.#addManifest(repository, parseDigest(child.digest)) : this.#addBlob(repository, child))
    }
    for (const blob of blobsOf(manifest)) await this.#addBlob(repository, blob)
    for await (const referrer of this.#listings.referrers(repository, digest)) {
      if (this.#parts.has(referrer.digest)) continue
      await this.#addManifest(repository, parseDigest(referrer.digest))
      const { mediaType, digest: of, size, artifactType } = referrer
      const descriptor = { mediaType, digest: of, size, ...(artifactType === undefined ? {} : { artifactType }) }
      this.#roots.push({ descriptor, manifest: await this.#read(repository, parseDigest(of)), name: undefined })
    }
  }

  async #addBlob(repository: string, { digest: text, urls }: Descriptor): Promise<void> {
    if (this.#parts.has(text)) return
    const digest = parseDigest(text)
    const sizeBytes = await this.#blobs.sizeOf(repository, digest)
    if (sizeBytes !== undefined) this.#parts.set(text, { repository, digest, sizeBytes })
    // Foreign layers are elsewhere.
    else if ((urls?.length ?? 0) === 0) throw missing(repository, text)
  }

  async #read(repository: string, digest: Digest): Promise<Manifest> {
    const bytes = await this.#manifests.read(repository, digest)
    if (bytes === undefined) throw missing(repository, formatDigest(digest))
    return parseManifest(bytes)
  }

  async #write(pack: Pack): Promise<void> {
    try {
      await addFile(pack, LAYOUT_FILE, Buffer.from(LAYOUT))
      const manifests = this.#roots.map(({ descriptor }) => descriptor)
      const index = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociIndex, manifests }
      await addFile(pack, INDEX_FILE, Buffer.from(JSON.stringify(index)))
      for (const part of this.#parts.values()) {
        await addFile(pack, blobFile(part.digest), part.bytes ?? this.#chunks(part), part.sizeBytes)
        this.#seen.blobs++
        this.#options.progress?.(this.#seen)
      }
      const images = this.#dockerImages()
      if (images.length > 0) await addFile(pack, DOCKER_FILE, Buffer.from(JSON.stringify(images)))
      pack.finalize()
    } catch (error) {
      pack.destroy(error as Error)
      throw error
    }
  }

  async *#chunks({ repository, digest, sizeBytes }: Part): AsyncGenerator<Uint8Array> {
    const file = await this.#blobs.open(repository, digest)
    if (file === undefined) throw missing(repository, formatDigest(digest))
    const hash = createDigestHash(digest.algorithm)
    try {
      if (sizeBytes > 0) {
        for await (const chunk of file.chunks({ start: 0, end: sizeBytes - 1 })) {
          hash.update(chunk)
          this.#seen.bytes += chunk.byteLength
          this.#options.progress?.(this.#seen)
          yield chunk
        }
      }
    } finally {
      await file.close()
    }
    if (hash.digest('hex') !== digest.hex) {
      throw new RegistryError('UNKNOWN', `${formatDigest(digest)} is damaged in the storage: push it again`)
    }
  }

  /** The images as `docker save` calls them. */
  #dockerImages(): DockerImage[] {
    const images = new Map<string, { Config: string; RepoTags: string[]; Layers: string[] }>()
    for (const { descriptor, manifest, name } of this.#roots) {
      const { config, layers, subject } = manifest
      const isImage = config !== undefined && IMAGE_CONFIGS.has(config.mediaType) && subject === undefined
      if (!isImage || !layers.every(({ digest }) => this.#parts.has(digest))) continue
      const fileOf = ({ digest }: Descriptor) => blobFile(parseDigest(digest))
      const known = images.get(descriptor.digest)
      const image = known ?? { Config: fileOf(config), RepoTags: [], Layers: layers.map(fileOf) }
      if (name !== undefined) image.RepoTags.push(name)
      images.set(descriptor.digest, image)
    }
    return [...images.values()]
  }
}

async function addFile(
  pack: Pack,
  name: string,
  content: Uint8Array | AsyncIterable<Uint8Array>,
  sizeBytes = (content as Uint8Array).byteLength,
): Promise<void> {
  const { promise: ended, resolve, reject } = Promise.withResolvers<void>()
  const header = { name, size: sizeBytes, mtime: new Date(0) }
  const entry = pack.entry(header, (error) => (error ? reject(error) : resolve()))
  ended.catch(() => {})
  // Told by `ended`.
  entry.on('error', () => {})
  for await (const chunk of content instanceof Uint8Array ? [content] : content) {
    // The storage uses its buffer again.
    if (!entry.write(Buffer.from(chunk))) await Promise.race([once(entry, 'drain'), ended])
  }
  entry.end(undefined)
  await ended
}

function missing(repository: string, digest: string): RegistryError {
  return new RegistryError(
    'BLOB_UNKNOWN',
    `${repository} does not hold ${digest}, which the image needs: pull or push it, or name a platform that is whole`,
  )
}
