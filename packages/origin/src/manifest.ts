import { digestOf, MAX_MANIFEST_BYTES, tryParseDigest } from '@shoal/core'
import { contentLength, isEncoded, mediaTypeOf, refusePage } from './body.ts'
import { type OriginError, originError, type Subject } from './errors.ts'
import type { ResponseHead } from './exchange.ts'
import { headerOf } from './follow.ts'

/** What an origin says of a manifest, without the manifest. */
export interface ManifestHead {
  /** 304: it is still what `ifNoneMatch` names. */
  readonly status: 200 | 304
  /** Without parameters, lower case; undefined when the origin names none. */
  readonly mediaType?: string
  readonly digest?: string
  readonly sizeBytes?: number
  readonly etag?: string
  /** The manifest itself, where it took a GET to tell. */
  readonly manifest?: FoundManifest
}

/** A manifest whose bytes agree with their digest. */
export interface FoundManifest {
  readonly status: 200
  /** At most 4 MiB. */
  readonly bytes: Buffer
  readonly mediaType?: string
  /** The digest that was asked for, else the one the origin names, else sha256; computed from the bytes. */
  readonly digest: string
  readonly etag?: string
}

/** A manifest, or word that it has not changed. */
export type ManifestReply = FoundManifest | { readonly status: 304; readonly etag?: string }

const MAX_ETAG_LENGTH = 1024

/** What the answer to a HEAD says; undefined when it can not be one to a manifest's. */
export function manifestHead(head: ResponseHead, reference: string): ManifestHead | undefined {
  const etag = etagOf(head)
  if (head.status === 304) return { status: 304, ...etag }
  const announced = announcedDigest(head)
  const wanted = tryParseDigest(reference)
  if (wanted !== undefined && announced !== undefined && announced !== reference) {
    if (announced.startsWith(`${wanted.algorithm}:`)) return undefined
  }
  const digest = wanted === undefined ? announced : reference
  // A page to log in says nothing of the manifest.
  if (mediaTypeOf(head).mediaType === 'text/html') return undefined
  // No manifest is empty; the length of an encoded body says nothing.
  const sizeBytes = isEncoded(head) ? undefined : contentLength(head)
  if (sizeBytes !== undefined && (sizeBytes === 0 || sizeBytes > MAX_MANIFEST_BYTES)) return undefined
  return {
    status: 200,
    ...mediaTypeOf(head),
    ...(digest === undefined ? {} : { digest }),
    ...(sizeBytes === undefined ? {} : { sizeBytes }),
    ...etag,
  }
}

/** The same, of a manifest that had to be fetched to know. */
export function headOf(reply: ManifestReply): ManifestHead {
  if (reply.status === 304) return reply
  const { bytes, ...head } = reply
  return { ...head, sizeBytes: bytes.byteLength, manifest: reply }
}

/** A manifest's answer, its bytes checked against every digest that is known of it. */
export function manifestReply(head: ResponseHead, bytes: Buffer, reference: string, subject: Subject): ManifestReply {
  const etag = etagOf(head)
  if (head.status === 304) return { status: 304, ...etag }
  const announced = announcedDigest(head)
  const isDigest = tryParseDigest(reference) !== undefined
  for (const expected of [isDigest ? reference : undefined, announced]) {
    const algorithm = expected === undefined ? undefined : tryParseDigest(expected)?.algorithm
    if (expected === undefined || algorithm === undefined) continue
    const found = digestOf(bytes, algorithm)
    if (found !== expected) throw mismatch(subject, expected, found)
  }
  // What has the digest that was asked for is what was meant, whatever it is.
  if (!isDigest) refusePage(head, bytes, subject)
  const digest = isDigest ? reference : (announced ?? digestOf(bytes))
  return { status: 200, bytes, ...mediaTypeOf(head), digest, ...etag }
}

function etagOf(head: ResponseHead): { etag?: string } {
  const etag = headerOf(head, 'etag')
  return etag === undefined || etag.length > MAX_ETAG_LENGTH ? {} : { etag }
}

/** A digest of an algorithm we do not know can not be checked, and counts as none. */
function announcedDigest(head: ResponseHead): string | undefined {
  const text = headerOf(head, 'docker-content-digest')
  return text !== undefined && tryParseDigest(text) !== undefined ? text : undefined
}

function mismatch(subject: Subject, expected: string, found: string): OriginError {
  return originError(
    'DIGEST_MISMATCH',
    subject,
    `the manifest should be ${expected} but is ${found}: the origin, or a proxy before it, alters it`,
  )
}
