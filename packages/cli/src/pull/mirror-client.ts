import { createDigestHash, MANIFEST_ACCEPT, MAX_MANIFEST_BYTES, parseDigest } from '@shoal/core'
import { type Dispatcher, request } from 'undici'
import { CliError } from '../errors.ts'

const HEADERS_TIMEOUT_MS = 60_000
const BODY_TIMEOUT_MS = 60_000

/** What is pulled: a repository of a registry, through a node's mirror. */
export interface MirrorTarget {
  readonly mirrorUrl: string
  readonly registry: string
  readonly repository: string
  readonly authorization?: string | undefined
}

/** Fetches a manifest through the mirror and checks it against `reference` when that is a digest. Throws CliError. */
export async function fetchManifest(
  target: MirrorTarget,
  reference: string,
): Promise<{ bytes: Uint8Array; mediaType: string; digest: string }> {
  const { headers, body } = await ask(target, `manifests/${reference}`, MANIFEST_ACCEPT)
  const chunks: Buffer[] = []
  let length = 0
  await consume(body, reference, (chunk) => {
    length += chunk.byteLength
    if (length > MAX_MANIFEST_BYTES) throw new CliError('PULL_FAILED', `the manifest ${reference} is larger than 4 MiB`)
    chunks.push(chunk)
  })
  const bytes = Buffer.concat(chunks)
  const digest = String(headers['docker-content-digest'] ?? '')
  const wanted = reference.includes(':') ? reference : digest
  const { algorithm, hex } = parseDigest(wanted)
  if (createDigestHash(algorithm).update(bytes).digest('hex') !== hex) {
    throw new CliError('PULL_FAILED', `the manifest ${reference} does not have the digest ${wanted}`)
  }
  return { bytes, mediaType: String(headers['content-type'] ?? '').split(';')[0] ?? '', digest: wanted }
}

/** Reads a blob through the mirror to its end and checks its digest. Throws CliError. */
export async function readBlob(target: MirrorTarget, digest: string): Promise<void> {
  const { body } = await ask(target, `blobs/${digest}`, '*/*')
  const { algorithm, hex } = parseDigest(digest)
  const hash = createDigestHash(algorithm)
  await consume(body, digest, (chunk) => hash.update(chunk))
  if (hash.digest('hex') !== hex) throw new CliError('PULL_FAILED', `the bytes of ${digest} are not right`)
}

async function consume(body: AsyncIterable<Buffer>, what: string, take: (chunk: Buffer) => void): Promise<void> {
  try {
    for await (const chunk of body) take(chunk)
  } catch (cause) {
    if (cause instanceof CliError) throw cause
    throw new CliError('PULL_FAILED', `${what} broke off: the log of the node says why; pull again to go on`, { cause })
  }
}

async function ask(target: MirrorTarget, path: string, accept: string): Promise<Dispatcher.ResponseData> {
  const { mirrorUrl, registry, repository, authorization } = target
  const url = `${mirrorUrl}/v2/${repository}/${path}?ns=${encodeURIComponent(registry)}`
  let response: Dispatcher.ResponseData
  try {
    response = await request(url, {
      headers: { accept, ...(authorization === undefined ? {} : { authorization }) },
      headersTimeout: HEADERS_TIMEOUT_MS,
      bodyTimeout: BODY_TIMEOUT_MS,
    })
  } catch (cause) {
    throw new CliError('NODE_UNREACHABLE', `the mirror ${mirrorUrl} does not answer`, { cause })
  }
  if (response.statusCode === 200) return response
  const text = (await response.body.text()).slice(0, 4096)
  const what = path.startsWith('manifests/')
    ? nameOf(target, path.slice('manifests/'.length))
    : `${registry}/${repository}`
  throw new CliError('PULL_FAILED', `${what}: ${messageOf(text) ?? `status ${response.statusCode}`}`)
}

/** The image as references have it. */
function nameOf({ registry, repository }: MirrorTarget, reference: string): string {
  return `${registry}/${repository}${reference.includes(':') ? '@' : ':'}${reference}`
}

function messageOf(text: string): string | undefined {
  try {
    const body = JSON.parse(text) as { errors?: { code?: string; message?: string }[] }
    const [error] = body.errors ?? []
    return error === undefined ? undefined : `${error.message} (${error.code})`
  } catch {
    return undefined
  }
}
