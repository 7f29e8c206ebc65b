import { createHash } from 'node:crypto'
import { type Descriptor, digestOf, isDigest, MANIFEST_ACCEPT, parseDigest, parseManifest } from '@shoal/core'
import { KitError } from './errors.ts'
import { http, httpExpect, readText } from './http.ts'

/** How an image is pulled. */
export interface PullOptions {
  /** The registry that a mirror stands for, sent as containerd does: `?ns=`. */
  readonly namespace?: string
  /** Of an index, only the images of this architecture; all unless told. */
  readonly architecture?: string
  /** Value of an `Authorization` header. */
  readonly authorization?: string
}

/** What a pull brought; every digest and size in it has been checked. */
export interface PulledImage {
  /** Digest of the manifest or index that the reference names. */
  readonly digest: string
  /** Bytes of all manifests and indexes. */
  readonly manifestBytes: number
  /** Configs and layers by digest, with their bytes; each was fetched once. */
  readonly blobs: ReadonlyMap<string, number>
  /** Bytes of all blobs. */
  readonly blobBytes: number
}

/**
 * Pulls an image by raw HTTP and checks every digest and size; content is hashed as it streams and not kept.
 * Throws KitError `CONTENT_MISMATCH` or `UNEXPECTED_ANSWER`.
 * @param url of a registry or mirror, for example `http://127.0.0.1:7410`
 * @param reference a tag or digest
 */
export async function pullImage(
  url: string,
  repository: string,
  reference: string,
  options: PullOptions = {},
): Promise<PulledImage> {
  const base = `${url.replace(/\/$/, '')}/v2/${repository}`
  const query = options.namespace === undefined ? '' : `?ns=${encodeURIComponent(options.namespace)}`
  const headers = options.authorization === undefined ? {} : { authorization: options.authorization }
  const blobs = new Map<string, number>()
  let manifestBytes = 0

  const pullManifest = async (name: string): Promise<string> => {
    const answer = await httpExpect(`${base}/manifests/${name}${query}`, [200], {
      headers: { ...headers, accept: MANIFEST_ACCEPT },
    })
    const digest = digestOf(answer.body)
    for (const claim of [answer.headers['docker-content-digest'], isDigest(name) ? name : undefined]) {
      if (claim !== undefined && claim !== digest) throw mismatch(`manifest ${name}`, `${digest}, not ${claim}`)
    }
    manifestBytes += answer.body.length
    const manifest = parseManifest(answer.body, answer.headers['content-type'] ?? '')
    for (const child of manifest.manifests) {
      const { architecture } = child.platform ?? {}
      if (options.architecture === undefined || architecture === options.architecture) await pullManifest(child.digest)
    }
    const wanted = [...(manifest.config === undefined ? [] : [manifest.config]), ...manifest.layers]
    for (const blob of wanted) {
      if (blobs.has(blob.digest)) continue
      await pullBlob(`${base}/blobs/${blob.digest}${query}`, blob, headers)
      blobs.set(blob.digest, blob.size)
    }
    return digest
  }

  const digest = await pullManifest(reference)
  return { digest, manifestBytes, blobs, blobBytes: [...blobs.values()].reduce((sum, size) => sum + size, 0) }
}

async function pullBlob(url: string, blob: Descriptor, headers: Record<string, string>): Promise<void> {
  const answer = await http(url, { headers })
  if (answer.status !== 200) {
    throw new KitError('UNEXPECTED_ANSWER', `GET ${url}: ${answer.status}: ${await readText(answer.body)}`)
  }
  const { algorithm } = parseDigest(blob.digest)
  const hash = createHash(algorithm)
  let size = 0
  for await (const chunk of answer.body as AsyncIterable<Buffer>) {
    hash.update(chunk)
    size += chunk.length
  }
  const digest = `${algorithm}:${hash.digest('hex')}`
  if (digest !== blob.digest || size !== blob.size) {
    throw mismatch(`blob ${blob.digest}`, `${digest} of ${size} bytes, not ${blob.size}`)
  }
  const length = answer.headers['content-length']
  if (length !== undefined && Number(length) !== size) throw mismatch(url, `content-length ${length} for ${size} bytes`)
}

function mismatch(what: string, found: string): KitError {
  return new KitError('CONTENT_MISMATCH', `${what} is ${found}`)
}
