import { EMPTY_DIGESTS } from '@shoal/core'
import { contentLength, isEncoded, refuseEncoding } from './body.ts'
import { parseContentRange, parseUnsatisfiedRange } from './content-range.ts'
import { originError, type Subject } from './errors.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import { headerOf } from './follow.ts'
import { isDoubtful } from './head-doubt.ts'
import type { OriginRequest, Requester } from './requester.ts'

const HEAD_ONLY: Receiver = { onHead: () => {}, onData: () => true }
const PART_OR_WHOLE: ReadonlySet<number> = new Set([200, 206, 416])
/** For the first byte; then, where that tells no size, for all of it. */
const PROBES: readonly Record<string, string>[] = [{ range: 'bytes=0-0' }, {}]

/**
 * A blob's size. A HEAD request is the cheapest way to it, and a mere hint: where its answer leaves a doubt, a GET of
 * the first byte decides whether the blob is there and how long it is. The distribution spec 1.1 only says that HEAD
 * SHOULD tell the length, registries and proxies before them refuse it, and signed URLs may be for GET alone.
 */
export async function blobSize(requester: Requester, request: OriginRequest, digest: string): Promise<number> {
  const mayBe = (size: number | undefined) => size !== undefined && (size > 0 || EMPTY_DIGESTS.has(digest))
  try {
    const head = await requester.perform(request, HEAD_ONLY)
    const size = isOfAnother(head, digest) ? undefined : sizeIn(head)
    if (size !== undefined && mayBe(size)) return size
  } catch (error) {
    if (!isDoubtful(error)) throw error
  }
  for (const headers of PROBES) {
    const probe = new SizeProbe(request.subject)
    await requester.perform({ ...request, method: 'GET', headers, accepts: PART_OR_WHOLE }, probe)
    const { size } = probe
    if (size !== undefined && mayBe(size)) return size
    if (size !== undefined) throw originError('PROTOCOL', request.subject, 'the origin says that the blob is empty')
  }
  throw originError('PROTOCOL', request.subject, "the origin does not tell the blob's size")
}

/** Reads no more of an answer than the size takes: of a whole body whose length nobody tells, all. */
class SizeProbe implements Receiver {
  readonly #subject: Subject
  #head: ResponseHead | undefined
  #countedBytes = 0

  constructor(subject: Subject) {
    this.#subject = subject
  }

  /** The blob's bytes, as soon as the answer is over. */
  get size(): number | undefined {
    if (this.#head === undefined) return undefined
    return sizeIn(this.#head) ?? (this.#head.status === 200 ? this.#countedBytes : undefined)
  }

  onHead(head: ResponseHead): void {
    refuseEncoding(head, this.#subject)
    this.#head = head
    this.#countedBytes = 0
  }

  onData(chunk: Buffer): boolean {
    this.#countedBytes += chunk.length
    return this.#head?.status === 200 && sizeIn(this.#head) === undefined
  }
}

/** The blob's size where the head of an answer tells it: an encoded body's length is not the blob's. */
function sizeIn(head: ResponseHead): number | undefined {
  if (isEncoded(head)) return undefined
  const range = headerOf(head, 'content-range')
  if (head.status === 206) return parseContentRange(range)?.total
  return head.status === 416 ? parseUnsatisfiedRange(range) : contentLength(head)
}

function isOfAnother(head: ResponseHead, digest: string): boolean {
  const named = headerOf(head, 'docker-content-digest')
  return named !== undefined && named !== digest
}
