import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { request } from 'undici'

const MIB = 1024 * 1024
const CHUNK = createHash('shake256', { outputLength: 4 * MIB })
  .update('shoal bench')
  .digest()

/** A blob in a registry. */
export interface PushedBlob {
  readonly repository: string
  readonly digest: string
  readonly sizeBytes: number
}

/** Incompressible content of `sizeBytes` (a whole number of 4 MiB), different for each `seed`, 4 MiB at a time. */
function* contentOf(seed: number, sizeBytes: number): Generator<Buffer> {
  for (let i = 0; i < sizeBytes / CHUNK.byteLength; i++) {
    const chunk = Buffer.from(CHUNK)
    chunk.writeUInt32LE(seed, 0)
    chunk.writeUInt32LE(i, 4)
    yield chunk
  }
}

/** Pushes a large blob in one request. */
export async function pushBlob(
  registryUrl: string,
  repository: string,
  seed: number,
  sizeMib: number,
): Promise<PushedBlob> {
  const sizeBytes = sizeMib * MIB
  const hash = createHash('sha256')
  for (const chunk of contentOf(seed, sizeBytes)) hash.update(chunk)
  const digest = `sha256:${hash.digest('hex')}`
  await put(registryUrl, repository, digest, sizeBytes, contentOf(seed, sizeBytes))
  return { repository, digest, sizeBytes }
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
