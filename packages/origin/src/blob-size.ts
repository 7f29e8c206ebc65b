import { contentLength, refuseEncoding } from './body.ts'
import { parseContentRange, parseUnsatisfiedRange } from './content-range.ts'
import { originError } from './errors.ts'
import type { Receiver, ResponseHead } from './exchange.ts'
import { headerOf } from './follow.ts'
import type { OriginRequest, Requester } from './requester.ts'

const PART_OR_WHOLE: ReadonlySet<number> = new Set([200, 206, 416])

/** A blob's size, from a HEAD request; where its answer does not tell, from a request for the first byte. */
export async function blobSize(requester: Requester, request: OriginRequest): Promise<number> {
  const size = contentLength(await requester.perform(request, HEAD_ONLY))
  if (size !== undefined) return size
  // The distribution spec 1.1 only says SHOULD, and some proxies drop the Content-Length of a HEAD.
  const probe: OriginRequest = { ...request, method: 'GET', headers: { range: 'bytes=0-0' }, accepts: PART_OR_WHOLE }
  const head = await requester.perform(probe, {
    onHead: (answer) => refuseEncoding(answer, request.subject),
    onData: () => false,
  })
  const found = sizeIn(head)
  if (found === undefined) {
    throw originError('PROTOCOL', request.subject, "the origin does not tell the blob's size")
  }
  return found
}

const HEAD_ONLY: Receiver = { onHead: () => {}, onData: () => true }

function sizeIn(head: ResponseHead): number | undefined {
  const range = headerOf(head, 'content-range')
  if (head.status === 206) return parseContentRange(range)?.total
  return head.status === 416 ? parseUnsatisfiedRange(range) : contentLength(head)
}
