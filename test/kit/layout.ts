import { createHash, randomUUID } from 'node:crypto'
import { createWriteStream } from 'node:fs'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { createGzip } from 'node:zlib'
import { type Descriptor, digestOf } from '@shoal/core'
import { type TarEntry, writeTar } from './tar.ts'

/** An OCI image layout on disk that holds one image, index or artifact. Source: OCI image-spec 1.1, image-layout.md. */
export interface Layout {
  readonly folder: string
  /** Name of the image inside the layout. */
  readonly tag: string
  /** The manifest or index that the tag names. */
  readonly root: Descriptor
  /** How skopeo, podman and buildah name it: `oci:FOLDER:TAG`. */
  readonly ociReference: string
}

/** A layer in a layout. */
export interface Layer {
  readonly descriptor: Descriptor
  /** Digest of the uncompressed tar. */
  readonly diffId: string
}

/** How a layer is stored. `stored` is gzip without compression: what incompressible content wants. */
export type LayerEncoding = 'gzip' | 'stored' | 'tar'

/** File of a blob in a layout. */
export function blobPath(folder: string, digest: string): string {
  return join(folder, 'blobs', digest.replace(':', '/'))
}

/** Fills a layout's folder. The same calls make the same bytes. */
export class LayoutWriter {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** A blob small enough for memory. */
  async addBlob(mediaType: string, content: Uint8Array | string): Promise<Descriptor> {
    const descriptor = { mediaType, digest: digestOf(content), size: Buffer.byteLength(content) }
    await mkdir(join(this.#folder, 'blobs', 'sha256'), { recursive: true })
    await writeFile(blobPath(this.#folder, descriptor.digest), content)
    return descriptor
  }

  /** A config, manifest or index. */
  async addJson(mediaType: string, value: unknown): Promise<Descriptor> {
    return this.addBlob(mediaType, JSON.stringify(value))
  }

  /** A layer of any size, streamed. */
  async addLayer(mediaType: string, entries: Iterable<TarEntry>, encoding: LayerEncoding): Promise<Layer> {
    await mkdir(join(this.#folder, 'blobs', 'sha256'), { recursive: true })
    const temporary = join(this.#folder, `${randomUUID()}.tmp`)
    const [plain, stored] = [createHash('sha256'), createHash('sha256')]
    let size = 0
    const hashPlain = async function* (source: AsyncIterable<Uint8Array>) {
      for await (const chunk of source) {
        plain.update(chunk)
        yield chunk
      }
    }
    const hashStored = async function* (source: AsyncIterable<Uint8Array>) {
      for await (const chunk of source) {
        stored.update(chunk)
        size += chunk.length
        yield chunk
      }
    }
    const gzip = encoding === 'tar' ? [] : [createGzip({ level: encoding === 'gzip' ? 6 : 0 })]
    const tar = Readable.from(writeTar(entries))
    await pipeline([tar, hashPlain, ...gzip, hashStored, createWriteStream(temporary)])
    const digest = `sha256:${stored.digest('hex')}`
    await rename(temporary, blobPath(this.#folder, digest))
    return { descriptor: { mediaType, digest, size }, diffId: `sha256:${plain.digest('hex')}` }
  }

  /** Writes the layout's own files, with `root` as its one entry. */
  async finish(root: Descriptor, tag: string): Promise<Layout> {
    const named = { ...root, annotations: { 'org.opencontainers.image.ref.name': tag } }
    await writeFile(join(this.#folder, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }))
    await writeFile(join(this.#folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }))
    return { folder: this.#folder, tag, root, ociReference: `oci:${this.#folder}:${tag}` }
  }
}
