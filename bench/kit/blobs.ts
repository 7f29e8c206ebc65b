import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { request } from 'undici'

const MIB = 1024 * 1024
const HEAD_BYTES = 8
const CHUNK = createHash('shake256', { outputLength: 4 * MIB })
  .update('shoal bench')
  .digest()

/** A blob in a registry. */
export interface PushedBlob {
  readonly repository: string
  readonly digest: string
  readonly sizeBytes: number
}

/**
 * Incompressible content of `sizeBytes`, different for each `seed`, at most 4 MiB at a time.
 * @param start what it begins with in the place of its own first bytes, less than 4 MiB
 */
function* contentOf(seed: number, sizeBytes: number, start?: Buffer): Generator<Buffer> {
  for (let i = 0; i * CHUNK.byteLength < sizeBytes; i++) {
    const chunk = Buffer.from(CHUNK)
    headOf(seed, i, start).copy(chunk)
    yield chunk.subarray(0, sizeBytes - i * CHUNK.byteLength)
  }
}

/** What tells one chunk from another. */
function headOf(seed: number, index: number, start: Buffer | undefined): Buffer {
  if (index === 0 && start !== undefined) return start
  const head = Buffer.alloc(HEAD_BYTES)
  head.writeUInt32LE(seed, 0)
  head.writeUInt32LE(index, 4)
  return head
}

/**
 * How many of `bytes` are not what the blob of `seed` has from `offset` on; far cheaper than to hash them.
 * @param start what the blob begins with, where it was pushed so
 */
export function wrongBytes(seed: number, offset: number, bytes: Buffer, start?: Buffer): number {
  let wrong = 0
  for (let done = 0; done < bytes.byteLength; ) {
    const index = Math.floor((offset + done) / CHUNK.byteLength)
    const from = (offset + done) % CHUNK.byteLength
    const head = headOf(seed, index, start)
    const source = from < head.byteLength ? head : CHUNK
    const length = Math.min(bytes.byteLength - done, source.byteLength - from)
    if (bytes.compare(source, from, from + length, done, done + length) !== 0) {
      for (let i = 0; i < length; i++) if (bytes[done + i] !== source[from + i]) wrong++
    }
    done += length
  }
  return wrong
}

/** Pushes a large blob in one request. */
export async function pushBlob(
  registryUrl: string,
  repository: string,
  seed: number,
  sizeMib: number,
): Promise<PushedBlob> {
  return pushBytes(registryUrl, repository, seed, sizeMib * MIB)
}

/**
 * Pushes a blob of `sizeBytes` in one request.
 * @param start what it begins with in the place of its own first bytes, less than 4 MiB
 */
export async function pushBytes(
  registryUrl: string,
  repository: string,
  seed: number,
  sizeBytes: number,
  start?: Buffer,
): Promise<PushedBlob> {
  const hash = createHash('sha256')
  for (const chunk of contentOf(seed, sizeBytes, start)) hash.update(chunk)
  const digest = `sha256:${hash.digest('hex')}`
  await put(registryUrl, repository, digest, sizeBytes, contentOf(seed, sizeBytes, start))
  return { repository, digest, sizeBytes }
}

/** Pushes an image of these layers under a tag; returns where its manifest is read, without the registry. */
export async function pushImage(registryUrl: string, layers: readonly PushedBlob[], tag: string): Promise<string> {
  const repository = layers[0]?.repository ?? ''
  const config = Buffer.from(JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs: { tag } }))
  const digest = `sha256:${createHash('sha256').update(config).digest('hex')}`
  await put(registryUrl, repository, digest, config.byteLength, [config])
  const type = 'application/vnd.oci.image.manifest.v1+json'
  const path = `/v2/${repository}/manifests/${tag}`
  const { statusCode, body } = await request(registryUrl + path, {
    method: 'PUT',
    headers: { 'content-type': type },
    body: JSON.stringify({
      schemaVersion: 2,
      mediaType: type,
      config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest, size: config.byteLength },
      layers: layers.map((layer) => ({
        mediaType: 'application/vnd.oci.image.layer.v1.tar',
        digest: layer.digest,
        size: layer.sizeBytes,
      })),
    }),
  })
  const text = await body.text()
  if (statusCode !== 201) throw new Error(`the push of ${tag} was answered ${statusCode}: ${text}`)
  return path
}

/** Where a blob is read. */
export function blobUrl(baseUrl: string, { repository, digest }: PushedBlob): string {
  return `${baseUrl}/v2/${repository}/blobs/${digest}`
}

async function put(
  registryUrl: string,
  repository: string,
  digest: string,
  sizeBytes: number,
  content: Iterable<Buffer>,
): Promise<void> {
  const started = await request(`${registryUrl}/v2/${repository}/blobs/uploads/`, { method: 'POST' })
  await started.body.dump()
  const location = new URL(String(started.headers.location), registryUrl)
  location.searchParams.set('digest', digest)
  const { statusCode, body } = await request(location, {
    method: 'PUT',
    headers: { 'content-type': 'application/octet-stream', 'content-length': String(sizeBytes) },
    body: Readable.from(content),
  })
  const text = await body.text()
  if (statusCode !== 201) throw new Error(`the push of ${digest} was answered ${statusCode}: ${text}`)
}
