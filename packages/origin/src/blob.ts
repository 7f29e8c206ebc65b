import { OriginError, originError, type Subject } from './errors.ts'
import { type ChunkTaker, RangeReceiver, type WantedRange } from './range-receiver.ts'
import type { OriginRequest, Requester } from './requester.ts'

/** What is known once a range has been fetched. */
export interface FetchedBlob {
  /** Whether the origin sent the whole blob although a part was asked: then parts cost it the whole each time. */
  readonly rangesIgnored: boolean
}

const MAX_RESUMES = 3
const ACCEPTS: ReadonlySet<number> = new Set([200, 206, 416])

/**
 * Streams bytes `start` to `end` of a blob. When the body ends or breaks off early, what is missing is asked for
 * anew (with a new token if need be), at most 3 times and only as long as each time brought bytes.
 */
export async function fetchBlobRange(
  requester: Requester,
  request: OriginRequest & { readonly redirectKey: string },
  wanted: WantedRange,
  onChunk: ChunkTaker,
): Promise<FetchedBlob> {
  const receiver = new RangeReceiver(request.subject, wanted, onChunk)
  for (let resumes = 0; ; resumes++) {
    const before = receiver.next
    const range = receiver.rangeHeader()
    const headers: Record<string, string> = range === undefined ? {} : { range }
    try {
      await requester.perform({ ...request, method: 'GET', headers, accepts: ACCEPTS }, receiver)
      if (receiver.next > wanted.end) return { rangesIgnored: receiver.rangesIgnored }
      if (receiver.next === before || resumes === MAX_RESUMES) throw tooShort(request.subject, receiver.next, wanted)
    } catch (error) {
      const isBroken = error instanceof OriginError && error.code === 'UNAVAILABLE'
      if (!isBroken || receiver.next === before || resumes >= MAX_RESUMES) throw error
      // All bytes came and only the end of the body broke.
      if (receiver.next > wanted.end) return { rangesIgnored: receiver.rangesIgnored }
    }
  }
}

function tooShort(subject: Subject, next: number, { start, end }: WantedRange): OriginError {
  return originError(
    'UNAVAILABLE',
    subject,
    `the origin ended the body after ${next - start} of ${end - start + 1} bytes, again and again: check its health`,
    { data: { isRetryable: false } },
  )
}
