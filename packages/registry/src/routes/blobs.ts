import { answerContent, type Digest, evaluateConditions, formatDigest, type Logger } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { Events } from '../events.ts'
import type { RegistryMetrics } from '../metrics.ts'
import type { Redirects } from '../redirect/redirects.ts'
import type { BlobStore } from '../storage/blobs.ts'
import type { Turns } from '../storage/turns.ts'
import { beginAnswer, type Exchange, type Handlers } from './exchange.ts'
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
/** What a digest names never changes. */
const FOR_EVER = 'max-age=31536000'

/** `/v2/<name>/blobs/<digest>` */
export function blobRoutes(dependencies: BlobRouteDependencies): Handlers<'blob'> {
  const { blobs, turns, metrics, events, log, redirects, mayDelete } = dependencies
  /** Answers with where the storage, or a CDN, has the blob; false when the registry is to answer itself. */
  const isSentElsewhere = async (exchange: Exchange, repository: string, blob: Digest): Promise<boolean> => {
    const digest = formatDigest(blob)
    const { reply, request } = exchange
    if (redirects === undefined || evaluateConditions(request.headers, `"${digest}"`) !== 'met') return false
    const stored = await blobs.pathOf(repository, blob)
    const url = stored && (await redirects.urlOf(stored.path))
    if (stored === undefined || url === undefined) return false
    const { sizeBytes } = stored
    await events.tell(exchange, { action: 'pull', kind: 'blob', repository, digest, mediaType: BLOB, sizeBytes })
    // The URL is good for a while only.
    reply.code(307).header('location', url).header('cache-control', 'no-store')
    reply.header('docker-content-digest', digest).header('content-length', 0).send()
    return true
  }
  return {
    HEAD: async (exchange, { repository, digest }) => {
      const sizeBytes = await blobs.sizeOf(repository, digest)
      if (sizeBytes === undefined) throw unknownBlob(repository, formatDigest(digest))
      beginAnswer(exchange, answerContent(exchange.request, contentOf(formatDigest(digest), sizeBytes)))
      return exchange.reply.header('cache-control', FOR_EVER).send()
    },
    GET: async (exchange, { repository, digest: { algorithm, hex } }) => {
      const { reply } = exchange
      const digest = `${algorithm}:${hex}`
      if (await isSentElsewhere(exchange, repository, { algorithm, hex })) return reply
      const file = await blobs.open(repository, { algorithm, hex })
      if (file === undefined) throw unknownBlob(repository, digest)
      try {
        const { sizeBytes } = file
        const body = beginAnswer(exchange, answerContent(exchange.request, contentOf(digest, sizeBytes)))
        reply.header('cache-control', FOR_EVER)
        if (reply.statusCode === 304) return reply.send()
        const isSent = await sendFile(reply, file, body, { sent: (bytes) => metrics.blobBytesSent.inc(bytes), log })
        if (isSent) {
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

function contentOf(digest: string, sizeBytes: number) {
  return { digest, sizeBytes, mediaType: BLOB, hasRanges: true }
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
