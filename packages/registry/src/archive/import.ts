import { blobsOf, type Descriptor, type Digest, formatDigest, parseDigest, parseManifest } from '@shoal/core'
import { BlobStore } from '../storage/blobs.ts'
import { ContentUses } from '../storage/content-uses.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { ManifestStore } from '../storage/manifests.ts'
import type { ArchiveProgress } from './export.ts'
import { invalid, lacks } from './failure.ts'
import type { ImageName } from './image-name.ts'
import { findRoots, type Referrer, type RootOptions } from './roots.ts'
import { Staging } from './staging.ts'

interface ImportOptions extends RootOptions {
  readonly progress?: (soFar: ArchiveProgress) => void
}

/** An image that was imported. */
export interface ImportedImage {
  readonly repository: string
  /** undefined for what only refers to an image, or has no name. */
  readonly tag: string | undefined
  readonly digest: string
}

const MOST_DEPTH = 8

/**
 * Takes in the images of a tar, gzipped or not: an OCI image layout (`skopeo`, `buildah`, `podman`, `ctr`, `docker save`
 * from version 25 on, `shoal registry export`), or what older Dockers save. Everything is in the storage, and checked,
 * before the first image can be seen. For a registry that does not run.
 * @throws RegistryError `MANIFEST_INVALID` when it is no such tar, or not whole; `NAME_INVALID` when an image has no name
 */
export async function importImages(
  driver: StorageDriver,
  from: AsyncIterable<Uint8Array>,
  options: ImportOptions,
): Promise<ImportedImage[]> {
  return new Import(driver, options).run(from)
}

class Import {
  readonly #options: ImportOptions
  readonly #blobs: BlobStore
  readonly #manifests: ManifestStore
  readonly #staging: Staging
  /** The repositories that manifests were put into. */
  readonly #places = new Map<string, Set<string>>()
  /** Where a content that was linked once is. */
  readonly #held = new Map<string, string>()
  readonly #seen = { images: 0, blobs: 0, bytes: 0 }

  constructor(driver: StorageDriver, options: ImportOptions) {
    const uses = new ContentUses()
    this.#options = options
    this.#blobs = new BlobStore(driver, uses)
    this.#manifests = new ManifestStore(driver, uses)
    this.#staging = new Staging(driver, (bytes) => this.#count('bytes', bytes))
  }

  async run(from: AsyncIterable<Uint8Array>): Promise<ImportedImage[]> {
    try {
      await this.#staging.fill(from)
      const { images, referrers } = await findRoots(this.#staging, this.#options)
      // Nothing is shown before all of it is known to be whole.
      for (const { descriptor } of [...images, ...referrers]) await this.#check(descriptor)
      const imported: ImportedImage[] = []
      for (const { descriptor, name } of images) {
        imported.push(await this.#putRoot(descriptor, name))
        this.#count('images')
      }
      const elsewhere = images[0]?.name.repository ?? this.#options.as?.repository
      return [...imported, ...(await this.#putReferrers(referrers, elsewhere))]
    } finally {
      await this.#staging.clear().catch(() => {})
    }
  }

  /** Throws unless the archive has all that a manifest needs. */
  async #check({ digest }: Descriptor, depth = 0): Promise<void> {
    if (depth > MOST_DEPTH) throw invalid('its indexes are nested too deep')
    const manifest = parseManifest(await this.#staging.read(digest))
    for (const child of manifest.manifests) {
      if (this.#staging.get(child.digest) === undefined) {
        const { os, architecture } = child.platform ?? {}
        throw lacks(child.digest, `the image for ${os}/${architecture}: name one that it has with --platform`)
      }
      if (isManifest(child)) await this.#check(child, depth + 1)
    }
    for (const { digest: blob, size, urls } of blobsOf(manifest)) {
      const staged = this.#staging.get(blob)
      if (staged === undefined && (urls?.length ?? 0) === 0) throw lacks(blob)
      if (staged !== undefined && staged.sizeBytes !== size)
        throw invalid(`${blob} has not the size that is said of it`)
    }
  }

  async #putRoot({ digest }: Descriptor, { repository, tag }: ImageName): Promise<ImportedImage> {
    await this.#put(repository, parseDigest(digest))
    if (tag !== undefined) await this.#manifests.tag(repository, tag, parseDigest(digest))
    return { repository, tag, digest }
  }

  /** What refers to something goes wherever that went. @param elsewhere where to when that is not in the archive */
  async #putReferrers(referrers: readonly Referrer[], elsewhere: string | undefined): Promise<ImportedImage[]> {
    const imported: ImportedImage[] = []
    let left = referrers
    while (left.length > 0) {
      const ready = left.filter(({ subject }) => this.#places.has(subject))
      const some = ready.length > 0 ? ready : left
      left = left.filter((each) => !some.includes(each))
      for (const { descriptor, subject } of some) {
        const places = [...(this.#places.get(subject) ?? (elsewhere === undefined ? [] : [elsewhere]))]
        if (places.length === 0) throw invalid('it holds only what refers to images: name a repository with --as')
        for (const repository of places) imported.push(await this.#putRoot(descriptor, { repository }))
      }
    }
    return imported
  }

  /** A manifest after what it needs. */
  async #put(repository: string, digest: Digest): Promise<void> {
    const text = formatDigest(digest)
    const bytes = await this.#staging.read(text)
    const manifest = parseManifest(bytes)
    for (const child of manifest.manifests) {
      await (isManifest(child) ? this.#put(repository, parseDigest(child.digest)) : this.#link(repository, child))
    }
    for (const blob of blobsOf(manifest)) await this.#link(repository, blob)
    await this.#manifests.put(repository, digest, bytes)
    this.#places.set(text, (this.#places.get(text) ?? new Set()).add(repository))
  }

  async #link(repository: string, { digest: text }: Descriptor): Promise<void> {
    const digest = parseDigest(text)
    const held = this.#held.get(text)
    const staged = this.#staging.get(text)
    // A foreign layer need not be in the archive.
    if (held === repository || staged === undefined) return
    if (held !== undefined) await this.#blobs.mount(digest, held, repository)
    else {
      await this.#blobs.adopt(repository, digest, staged.sha256, staged)
      this.#held.set(text, repository)
      this.#count('blobs')
    }
  }

  #count(what: keyof ArchiveProgress, by = 1): void {
    this.#seen[what] += by
    this.#options.progress?.(this.#seen)
  }
}

function isManifest({ mediaType }: Descriptor): boolean {
  return /\.(?:image\.(?:manifest|index)\.v1|distribution\.manifest(?:\.list)?\.v2)\+json$/.test(mediaType)
}
