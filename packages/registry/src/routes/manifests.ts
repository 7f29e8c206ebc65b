import {
  answerContent,
  blobsOf,
  type Descriptor,
  type Digest,
  digestOf,
  formatDigest,
  isTag,
  MAX_MANIFEST_BYTES,
  type Manifest,
  mediaTypeOfManifest,
  parseDigest,
  parseManifest,
} from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { Events, Happening } from '../events.ts'
import type { Quotas } from '../quotas/quotas.ts'
import type { BlobStore } from '../storage/blobs.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import type { Turns } from '../storage/turns.ts'
import { deletionDisabled } from './blobs.ts'
import { beginAnswer, type Handler, type Handlers, headerOf, readBody } from './exchange.ts'
import type { Route } from './path.ts'

interface ManifestRouteDependencies {
  readonly blobs: BlobStore
  readonly manifests: ManifestStore
  readonly turns: Pick<Turns, 'take'>
  readonly events: Events
  readonly quotas: Pick<Quotas, 'refuseTags'>
  readonly mayDelete: boolean
}

type ManifestRoute = Extract<Route, { kind: 'manifest' }>

const MAX_TAG_PARAMETERS = 100
const CHECKED_TOGETHER = 32
/** Layers that need not be in the registry. Source: OCI image-spec 1.1, layer.md; Docker image manifest v2 schema 2. */
const NONDISTRIBUTABLE = /\.layer\.nondistributable\.|\.rootfs\.foreign\./

/** `/v2/<name>/manifests/<reference>` */
export function manifestRoutes(dependencies: ManifestRouteDependencies): Handlers<'manifest'> {
  const { manifests, turns, events, quotas, mayDelete } = dependencies
  const get: Handler<'manifest'> = async (exchange, route) => {
    const { reply } = exchange
    const digest = await find(manifests, route)
    const bytes = digest === undefined ? undefined : await manifests.read(route.repository, digest)
    if (digest === undefined || bytes === undefined) throw unknownManifest(route)
    const text = formatDigest(digest)
    const mediaType = manifests.mediaTypeOf(digest, bytes)
    const described = { digest: text, sizeBytes: bytes.byteLength, mediaType, hasRanges: false }
    if (beginAnswer(exchange, answerContent(exchange.request, described)).length === 0) return reply.send()
    const content = contentOf(route.repository, text, mediaType, bytes)
    const pull: Happening = { action: 'pull', ...content, ...route.reference, digest: text }
    reply.raw.once('finish', () => void events.tell(exchange, pull))
    return reply.send(bytes)
  }
  return {
    GET: get,
    HEAD: get,
    PUT: async (exchange, route) => {
      const { repository, reference, text } = route
      if (reference === undefined) throw invalidTag(text)
      const tags = 'tag' in reference ? [reference.tag] : tagParameters(exchange.query)
      const bytes = await readBody(exchange, MAX_MANIFEST_BYTES)
      const claimed = 'digest' in reference ? parseDigest(reference.digest) : undefined
      const digest = parseDigest(digestOf(bytes, claimed?.algorithm))
      if (claimed !== undefined && claimed.hex !== digest.hex) throw wrongDigest(claimed, digest)
      const manifest = parsePushed(bytes, headerOf(exchange, 'content-type'))
      await turns.take(repository, async () => {
        await quotas.refuseTags(manifests, repository, tags)
        await refuseMissing(dependencies, repository, manifest)
        await manifests.put(repository, digest, bytes)
        for (const tag of tags) await manifests.tag(repository, tag, digest)
        const content = contentOf(repository, formatDigest(digest), manifest.mediaType, bytes)
        if (tags.length === 0) await events.tell(exchange, { action: 'push', ...content })
        await Promise.all(tags.map((tag) => events.tell(exchange, { action: 'push', ...content, tag })))
      })
      const { reply } = exchange
      if (manifest.subject !== undefined) reply.header('oci-subject', manifest.subject.digest)
      if (claimed !== undefined && tags.length > 0) reply.header('oci-tag', tags.join(', '))
      reply.code(201).header('location', `/v2/${repository}/manifests/${formatDigest(digest)}`)
      return reply.header('docker-content-digest', formatDigest(digest)).header('content-length', 0).send()
    },
    DELETE: async (exchange, route) => {
      if (!mayDelete) throw deletionDisabled()
      const { repository, reference } = route
      if (reference === undefined) throw unknownManifest(route)
      const wasThere = await turns.take(repository, async () => {
        const isRemoved = await ('tag' in reference
          ? manifests.untag(repository, reference.tag)
          : manifests.remove(repository, parseDigest(reference.digest)))
        if (isRemoved) await events.tell(exchange, { action: 'delete', kind: 'manifest', repository, ...reference })
        return isRemoved
      })
      if (!wasThere) throw unknownManifest(route)
      return exchange.reply.code(202).header('content-length', 0).send()
    },
  }
}

function contentOf(repository: string, digest: string, mediaType: string, bytes: Uint8Array) {
  return { kind: 'manifest', repository, digest, mediaType, sizeBytes: bytes.byteLength } as const
}

async function find(manifests: ManifestStore, route: ManifestRoute): Promise<Digest | undefined> {
  return route.reference === undefined ? undefined : manifests.resolve(route.repository, route.reference)
}

/** A pushed manifest, which must say itself what its `Content-Type` says: that is not kept. */
function parsePushed(bytes: Uint8Array, contentType: string | undefined): Manifest {
  const manifest = parseManifest(bytes, contentType)
  if (mediaTypeOfManifest(bytes) === manifest.mediaType) return manifest
  throw new RegistryError('MANIFEST_INVALID', `the manifest has no mediaType: set it to ${manifest.mediaType}`)
}

/**
 * Throws RegistryError `MANIFEST_BLOB_UNKNOWN` when something that the manifest needs is not in the repository. A
 * `subject` need not be there (OCI distribution-spec 1.1, "Pushing Manifests"). Children of an index may be blobs:
 * build caches make such indexes, and Distribution takes them.
 */
async function refuseMissing(
  { blobs, manifests }: ManifestRouteDependencies,
  repository: string,
  manifest: Manifest,
): Promise<void> {
  const isForeign = ({ urls, mediaType }: Descriptor) => (urls?.length ?? 0) > 0 || NONDISTRIBUTABLE.test(mediaType)
  const isHeld = async ({ digest: text }: Descriptor): Promise<boolean> => {
    const digest = parseDigest(text)
    if (manifest.kind === 'index' && (await manifests.has(repository, digest))) return true
    return (await blobs.sizeOf(repository, digest)) !== undefined
  }
  const needed = manifest.kind === 'index' ? manifest.manifests : blobsOf(manifest).filter((each) => !isForeign(each))
  for (let i = 0; i < needed.length; i += CHECKED_TOGETHER) {
    const some = needed.slice(i, i + CHECKED_TOGETHER)
    const held = await Promise.all(some.map(isHeld))
    const missing = some.find((_, at) => !held[at])
    if (missing === undefined) continue
    throw new RegistryError(
      'MANIFEST_BLOB_UNKNOWN',
      `the manifest names ${missing.digest}, which ${repository} does not hold: push it first`,
      { data: { digest: missing.digest } },
    )
  }
}

/** The tags that a push by digest sets too. Source: OCI distribution-spec main, "Pushing Manifests", `tag` parameters. */
function tagParameters(query: URLSearchParams): string[] {
  const tags = [...new Set(query.getAll('tag'))]
  if (tags.length > MAX_TAG_PARAMETERS) {
    throw new RegistryError('TAG_INVALID', `${tags.length} tags in one push: send at most ${MAX_TAG_PARAMETERS}`, {
      status: 414,
    })
  }
  for (const tag of tags) if (!isTag(tag)) throw invalidTag(tag)
  return tags
}

function invalidTag(text: string): RegistryError {
  return new RegistryError(
    'TAG_INVALID',
    `"${text.slice(0, 128)}" is neither a tag nor a digest: a tag has 1 to 128 letters, digits, _ . and -, not . or - first`,
  )
}

function wrongDigest(claimed: Digest, received: Digest): RegistryError {
  return new RegistryError(
    'DIGEST_INVALID',
    `the manifest received has the digest ${formatDigest(received)}, not ${formatDigest(claimed)}: push the exact bytes`,
    { data: { digest: formatDigest(claimed), received: formatDigest(received) } },
  )
}

function unknownManifest({ repository, text }: ManifestRoute): RegistryError {
  return new RegistryError(
    'MANIFEST_UNKNOWN',
    `${repository} has no manifest ${text.slice(0, 140)}: check the name, and the tag or digest`,
    { data: { reference: text.slice(0, 140) } },
  )
}
