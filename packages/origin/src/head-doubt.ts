import { OriginError, type OriginErrorCode } from './errors.ts'

const DOUBTFUL: ReadonlySet<OriginErrorCode> = new Set(['DENIED', 'NOT_FOUND', 'PROTOCOL', 'DIGEST_MISMATCH'])

/**
 * Whether what a HEAD request failed with may be for HEAD alone, so that a GET has to decide. HEAD "should" be answered
 * as GET is (RFC 9110 §9.3.2), and is not by many: refused or not found where GET works, kept from what signed URLs lead
 * to, served by a proxy that has yet to fetch the content. Clear are a challenge, a limited rate, an origin that is
 * away, and what our own rules forbid.
 */
export function isDoubtful(error: unknown): boolean {
  if (!(error instanceof OriginError)) return false
  const { code, data, challenges } = error
  if (code === 'UNAUTHORIZED') return data.status === 401 && challenges.length === 0
  if (code === 'UNAVAILABLE') return data.status !== undefined && data.status !== 503
  return DOUBTFUL.has(code)
}
