import {
  type Digest,
  type DigestAlgorithm,
  EMPTY_DIGESTS,
  formatDigest,
  isRepositoryName,
  parseDigest,
} from '@shoal/core'
import type { FastifyReply } from 'fastify'
import { RegistryError } from '../errors.ts'
import type { Events, Happening } from '../events.ts'
import type { RegistryMetrics } from '../metrics.ts'
import type { BlobStore } from '../storage/blobs.ts'
import type { UploadChunk, UploadStore } from '../storage/uploads.ts'
import { BLOB } from './blobs.ts'
import { bodyOf, contentLengthOf, type Exchange, type Handler, type Handlers, headerOf } from './exchange.ts'

interface UploadRouteDependencies {
  readonly blobs: BlobStore
  readonly uploads: UploadStore
  readonly metrics: RegistryMetrics
  readonly events: Events
}

interface Mounted {
  readonly digest: Digest
  readonly from: string
}

const ALGORITHMS: readonly string[] = ['sha256', 'sha512'] satisfies DigestAlgorithm[]

/** `/v2/<name>/blobs/uploads/`: where a push of a blob begins. */
export function uploadsRoutes({ blobs, uploads, metrics, events }: UploadRouteDependencies): Handlers<'uploads'> {
  /**
   * Mounting needs `from`, as in Distribution: a blob taken from whichever repository holds it could be read by
   * somebody who may not pull from that one.
   */
  const mount = async ({ query }: Exchange, repository: string): Promise<Mounted | undefined> => {
    const text = query.get('mount')
    if (text === null) return undefined
    const digest = parseDigest(text)
    const from = query.get('from')
    if (from === null || !isRepositoryName(from)) return undefined
    return (await blobs.mount(digest, from, repository)) ? { digest, from } : undefined
  }
  return {
    POST: async (exchange, { repository }) => {
      const { query, reply } = exchange
      const mounted = await mount(exchange, repository)
      if (mounted !== undefined) {
        metrics.uploads.inc({ outcome: 'mounted' })
        const { digest, from } = mounted
        const sizeBytes = await blobs.sizeOf(repository, digest)
        // Gone again already when somebody deleted it meanwhile.
        const happening = {
          ...pushed(repository, digest, sizeBytes ?? 0),
          action: 'mount',
          fromRepository: from,
        } as const
        await events.tell(exchange, happening)
        return created(reply, repository, digest)
      }
      const text = query.get('digest')
      // Some clients name the digest and send the bytes later, to the session.
      if (text === null || (contentLengthOf(exchange) === 0 && !EMPTY_DIGESTS.has(text))) {
        const id = await uploads.start(repository, algorithmOf(query))
        metrics.uploads.inc({ outcome: 'started' })
        return standing(reply.code(202), repository, id, 0)
      }
      const digest = parseDigest(text)
      const id = await uploads.start(repository, digest.algorithm)
      metrics.uploads.inc({ outcome: 'started' })
      let sizeBytes: number
      try {
        sizeBytes = await uploads.commit(repository, id, digest, { body: bodyOf(exchange) })
      } catch (error) {
        // The client does not know the session, so nobody can carry on with it.
        await uploads.cancel(repository, id).catch(() => {})
        throw error
      }
      metrics.uploads.inc({ outcome: 'committed' })
      await events.tell(exchange, pushed(repository, digest, sizeBytes))
      return created(reply, repository, digest)
    },
  }
}

/** `/v2/<name>/blobs/uploads/<id>`: one push of a blob. */
export function uploadRoutes({ uploads, metrics, events }: UploadRouteDependencies): Handlers<'upload'> {
  const status: Handler<'upload'> = async ({ reply }, { repository, id }) =>
    standing(reply.code(204), repository, id, await uploads.offset(repository, id))
  return {
    GET: status,
    HEAD: status,
    PATCH: async (exchange, { repository, id }) => {
      const chunk = chunkOf(exchange) ?? { body: bodyOf(exchange) }
      const offset = await told(repository, id, () => uploads.append(repository, id, chunk))
      return standing(exchange.reply.code(202), repository, id, offset)
    },
    PUT: async (exchange, { repository, id }) => {
      const text = exchange.query.get('digest')
      if (text === null) {
        throw new RegistryError('DIGEST_INVALID', 'the query has no digest: add ?digest=sha256:<hex> of the whole blob')
      }
      const digest = parseDigest(text)
      const chunk = chunkOf(exchange)
      const sizeBytes = await told(repository, id, () => uploads.commit(repository, id, digest, chunk))
      metrics.uploads.inc({ outcome: 'committed' })
      await events.tell(exchange, pushed(repository, digest, sizeBytes))
      return created(exchange.reply, repository, digest)
    },
    DELETE: async ({ reply }, { repository, id }) => {
      await uploads.cancel(repository, id)
      metrics.uploads.inc({ outcome: 'cancelled' })
      return reply.code(204).send()
    },
  }
}

function pushed(repository: string, digest: Digest, sizeBytes: number): Happening {
  return { action: 'push', kind: 'blob', repository, digest: formatDigest(digest), mediaType: BLOB, sizeBytes }
}

/** The request's body as a chunk; undefined when it has none. Throws RegistryError `RANGE_INVALID` or `SIZE_INVALID`. */
function chunkOf(exchange: Exchange): UploadChunk | undefined {
  const length = contentLengthOf(exchange)
  const text = headerOf(exchange, 'content-range')
  if (length === 0 && text === undefined) return undefined
  if (text === undefined) return { body: bodyOf(exchange) }
  const match = /^([0-9]{1,15})-([0-9]{1,15})$/.exec(text)
  const [start, end] = [Number(match?.[1]), Number(match?.[2])]
  if (match === null || end < start) {
    throw new RegistryError(
      'RANGE_INVALID',
      `Content-Range "${text.slice(0, 64)}" can not be read: write <first>-<last>, both included, without a unit`,
    )
  }
  if (length !== undefined && length !== end - start + 1) {
    throw new RegistryError(
      'SIZE_INVALID',
      `Content-Range ${text} is ${end - start + 1} bytes but Content-Length is ${length}: make them agree`,
    )
  }
  return { body: bodyOf(exchange), range: { start, end } }
}

/** Does `work`; an error about the order of chunks says which session it is about, so that the client can go on. */
async function told<T>(repository: string, id: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (!(error instanceof RegistryError) || error.code !== 'RANGE_INVALID') throw error
    const headers = { ...error.headers, location: locationOf(repository, id), 'docker-upload-uuid': id }
    throw new RegistryError(error.code, error.message, { cause: error, headers })
  }
}

function algorithmOf(query: URLSearchParams): DigestAlgorithm {
  const text = query.get('digest-algorithm') ?? 'sha256'
  if (ALGORITHMS.includes(text)) return text as DigestAlgorithm
  throw new RegistryError(
    'DIGEST_INVALID',
    `digest-algorithm "${text.slice(0, 32)}" is not known: use sha256 or sha512`,
  )
}

/** A session with nothing in it says `0-0`, as in Distribution: the header has no way to say "no bytes". */
function standing(reply: FastifyReply, repository: string, id: string, offset: number): FastifyReply {
  reply.header('location', locationOf(repository, id)).header('docker-upload-uuid', id)
  reply.header('range', `0-${Math.max(0, offset - 1)}`)
  if (reply.statusCode !== 204) reply.header('content-length', 0)
  return reply.send()
}

function created(reply: FastifyReply, repository: string, digest: Digest): FastifyReply {
  const text = formatDigest(digest)
  reply.code(201).header('location', `/v2/${repository}/blobs/${text}`).header('docker-content-digest', text)
  return reply.header('content-length', 0).send()
}

function locationOf(repository: string, id: string): string {
  return `/v2/${repository}/blobs/uploads/${id}`
}
