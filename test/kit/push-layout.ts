import { createReadStream } from 'node:fs'
import { open, readFile } from 'node:fs/promises'
import { type Descriptor, isManifestMediaType, type Manifest, parseManifest } from '@shoal/core'
import { KitError } from './errors.ts'
import { httpExpect } from './http.ts'
import { blobPath, type Layout } from './layout.ts'

/** How a push goes. */
export interface PushOptions {
  /** Sends each blob as PATCH requests of at most this many bytes, instead of as one PUT. */
  readonly chunkBytes?: number
  /** Value of an `Authorization` header. */
  readonly authorization?: string
}

/**
 * Pushes a layout by raw HTTP, for content that no tool would send or would first change: empty blobs, Docker media
 * types, uncompressed layers. Blobs that the registry already has are left out.
 * Source: OCI distribution-spec 1.1, "Push".
 * @param url of the registry, for example `http://127.0.0.1:5000`
 */
export async function pushLayout(
  url: string,
  repository: string,
  tag: string,
  layout: Layout,
  options: PushOptions = {},
): Promise<void> {
  await new Push(url, repository, layout.folder, options).manifest(layout.root, tag)
}

class Push {
  readonly #base: string
  readonly #folder: string
  readonly #options: PushOptions
  readonly #headers: Readonly<Record<string, string>>

  constructor(url: string, repository: string, folder: string, options: PushOptions) {
    this.#base = `${url.replace(/\/$/, '')}/v2/${repository}`
    this.#folder = folder
    this.#options = options
    this.#headers = options.authorization === undefined ? {} : { authorization: options.authorization }
  }

  /** Sends what a manifest refers to, then the manifest, by `reference`. */
  async manifest(descriptor: Descriptor, reference: string): Promise<void> {
    const bytes = await readFile(blobPath(this.#folder, descriptor.digest))
    const manifest: Manifest = parseManifest(bytes, descriptor.mediaType)
    for (const child of manifest.manifests) await this.manifest(child, child.digest)
    const blobs = [...(manifest.config === undefined ? [] : [manifest.config]), ...manifest.layers]
    for (const blob of blobs) await this.#blob(blob)
    await httpExpect(`${this.#base}/manifests/${reference}`, [201], {
      method: 'PUT',
      headers: { ...this.#headers, 'content-type': descriptor.mediaType, 'content-length': bytes.length },
      body: bytes,
    })
  }

  async #blob(blob: Descriptor): Promise<void> {
    if (isManifestMediaType(blob.mediaType)) {
      throw new KitError('FIXTURE_INVALID', `${blob.digest} is a manifest among the blobs`)
    }
    const headers = this.#headers
    const held = await httpExpect(`${this.#base}/blobs/${blob.digest}`, [200, 404], { method: 'HEAD', headers })
    if (held.status === 200) return
    const opened = await httpExpect(`${this.#base}/blobs/uploads/`, [202], {
      method: 'POST',
      headers: { ...headers, 'content-length': 0 },
    })
    let session = this.#location(opened.headers.location)
    const { chunkBytes } = this.#options
    if (chunkBytes !== undefined) session = await this.#chunks(blob, session, chunkBytes)
    session.searchParams.set('digest', blob.digest)
    const size = chunkBytes === undefined ? blob.size : 0
    await httpExpect(session, [201], {
      method: 'PUT',
      headers: { ...headers, 'content-type': 'application/octet-stream', 'content-length': size },
      ...(size === 0 ? {} : { body: createReadStream(blobPath(this.#folder, blob.digest)) }),
    })
  }

  /** Sends all of a blob by PATCH; returns where the upload is to be closed. */
  async #chunks(blob: Descriptor, opened: URL, chunkBytes: number): Promise<URL> {
    let session = opened
    const file = await open(blobPath(this.#folder, blob.digest))
    try {
      const buffer = Buffer.alloc(Math.min(chunkBytes, blob.size))
      for (let offset = 0; offset < blob.size; ) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, offset)
        if (bytesRead === 0) throw new KitError('FIXTURE_INVALID', `${blob.digest} is shorter than ${blob.size} bytes`)
        const answer = await httpExpect(session, [202], {
          method: 'PATCH',
          headers: {
            ...this.#headers,
            'content-type': 'application/octet-stream',
            'content-length': bytesRead,
            'content-range': `${offset}-${offset + bytesRead - 1}`,
          },
          body: buffer.subarray(0, bytesRead),
        })
        session = this.#location(answer.headers.location)
        offset += bytesRead
      }
    } finally {
      await file.close()
    }
    return session
  }

  #location(location: string | undefined): URL {
    if (location === undefined) throw new KitError('UNEXPECTED_ANSWER', `${this.#base}: an upload without Location`)
    return new URL(location, this.#base)
  }
}
