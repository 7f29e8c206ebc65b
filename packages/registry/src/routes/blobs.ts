import { type ByteRange, type Digest, formatDigest, type Logger, parseRange } from '@shoal/core'
import type { FastifyReply } from 'fastify'
import { RegistryError } from '../errors.ts'
import type { Events } from '../events.ts'
import type { RegistryMetrics } from '../metrics.ts'
import type { Redirects } from '../redirect/redirects.ts'
import type { BlobStore } from '../storage/blobs.ts'
import type { StoredFile } from '../storage/driver.ts'
import type { Turns } from '../storage/turns.ts'
import { type Exchange, type Handlers, headerOf, matchesEtag } from './exchange.ts'
import { sendFile } from './send-file.ts'

interface BlobRouteDependencies {
  readonly blobs: Pick<BlobStore, 'sizeOf' | 'open' | 'pathOf' | 'unlink'>
  readonly turns: Pick<Turns, 'take'>
  readonly metrics: RegistryMetrics
  readonly events: Events
  readonly log: Logger
  /** Where clients are sent for blobs; the registry sends them itself when undefined. */
  readonly redirects?: Redirects | undefined
  readonly mayDelete: boolean
}

/** The media type of every blob: what one is its manifest says. */
export const BLOB = 'application/octet-stream'

/** `/v2/<name>/blobs/<digest>` */
export function blobRoutes(dependencies: BlobRouteDependencies): Handlers<'blob'> {
  const { blobs, turns, metrics, events, log, redirects, mayDelete } = dependencies
  /** Answers with where the storage, or a CDN, has the blob; false when the registry is to answer itself. */
  const isSentElsewhere = async (exchange: Exchange, repository: string, blob: Digest): Promise<boolean> => {
    const digest = formatDigest(blob)
    if (redirects === undefined || matchesEtag(headerOf(exchange, 'if-none-match'), digest)) return false
    const stored = await blobs.pathOf(repository, blob)
    const url = stored && (await redirects.urlOf(stored.path))
    if (stored === undefined || url === undefined) return false
    const { sizeBytes } = stored
    await events.tell(exchange, { action: 'pull', kind: 'blob', repository, digest, mediaType: BLOB, sizeBytes })
    const { reply } = exchange
    // The URL is good for a while only.
    reply.code(307).header('location', url).header('cache-control', 'no-store')
    reply.header('docker-content-digest', digest).header('content-length', 0).send()
    return true
  }
  return {
    HEAD: async ({ reply }, { repository, digest }) => {
      const sizeBytes = await blobs.sizeOf(repository, digest)
      if (sizeBytes === undefined) throw unknownBlob(repository, formatDigest(digest))
      return describe(reply, formatDigest(digest)).header('content-length', sizeBytes).send()
    },
    GET: async (exchange, { repository, digest: { algorithm, hex } }) => {
      const { reply } = exchange
      const digest = `${algorithm}:${hex}`
      if (await isSentElsewhere(exchange, repository, { algorithm, hex })) return reply
      const file = await blobs.open(repository, { algorithm, hex })
      if (file === undefined) throw unknownBlob(repository, digest)
      try {
        describe(reply, digest)
        if (matchesEtag(headerOf(exchange, 'if-none-match'), digest)) return reply.code(304).send()
        // RFC 9110 §13.1.5: a part of something else than the client holds is no use to it.
        const ifRange = headerOf(exchange, 'if-range')
        const isSame = ifRange === undefined || matchesEtag(ifRange, digest)
        const range = partOf(reply, isSame ? headerOf(exchange, 'range') : undefined, file)
        const isSent = await sendFile(reply, file, range, { sent: (bytes) => metrics.blobBytesSent.inc(bytes), log })
        if (isSent) {
          const { sizeBytes } = file
          await events.tell(exchange, { action: 'pull', kind: 'blob', repository, digest, mediaType: BLOB, sizeBytes })
        }
        return reply
      } finally {
        await file.close()
      }
    },
    DELETE: async (exchange, { repository, digest }) => {
      if (!mayDelete) throw deletionDisabled()
      const text = formatDigest(digest)
      const wasThere = await turns.take(repository, async () => {
        if (!(await blobs.unlink(repository, digest))) return false
        await events.tell(exchange, { action: 'delete', kind: 'blob', repository, digest: text })
        return true
      })
      if (!wasThere) throw unknownBlob(repository, text)
      const { reply } = exchange
      return reply.code(202).header('content-length', 0).header('docker-content-digest', text).send()
    },
  }
}

/** Sets status and headers for what `Range` asks; returns the bytes to send, undefined for an empty blob. */
function partOf(reply: FastifyReply, header: string | undefined, file: StoredFile): ByteRange | undefined {
  const { sizeBytes } = file
  const asked = parseRange(header, sizeBytes)
  switch (asked.kind) {
    case 'whole':
      reply.code(200).header('content-length', sizeBytes)
      return sizeBytes === 0 ? undefined : { start: 0, end: sizeBytes - 1 }
    case 'part': {
      const { start, end } = asked.range
      reply.code(206).header('content-range', `bytes ${start}-${end}/${sizeBytes}`)
      reply.header('content-length', end - start + 1)
      return asked.range
    }
    case 'malformed':
      throw badRange(`Range "${(header ?? '').slice(0, 64)}" can not be read`, sizeBytes)
    case 'unsatisfiable':
      throw badRange(
        `the blob has ${sizeBytes} bytes, none of them in Range "${(header ?? '').slice(0, 64)}"`,
        sizeBytes,
      )
  }
}

function describe(reply: FastifyReply, digest: string): FastifyReply {
  return reply
    .type(BLOB)
    .header('docker-content-digest', digest)
    .header('etag', `"${digest}"`)
    .header('cache-control', 'max-age=31536000')
    .header('accept-ranges', 'bytes')
}

function badRange(what: string, sizeBytes: number): RegistryError {
  return new RegistryError(
    'RANGE_INVALID',
    `${what}: write bytes=<first>-<last>, bytes=<first>- or bytes=-<how many from the end>`,
    { headers: { 'content-range': `bytes */${sizeBytes}` } },
  )
}

function unknownBlob(repository: string, digest: string): RegistryError {
  return new RegistryError(
    'BLOB_UNKNOWN',
    `${repository} holds no blob ${digest}: check the name and the digest, or push it first`,
    { data: { digest } },
  )
}

/** What a client gets that deletes where `delete.enabled` is off. */
export function deletionDisabled(): RegistryError {
  return new RegistryError(
    'UNSUPPORTED',
    'this registry does not delete: its operator can allow it with delete.enabled',
  )
}
