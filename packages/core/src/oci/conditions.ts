import type { IncomingHttpHeaders } from 'node:http'

/** What the conditions of a GET or HEAD come to: answer it, or answer 304, or 412. */
export type ConditionsVerdict = 'met' | 'not-modified' | 'failed'

/**
 * Evaluates `If-Match` and `If-None-Match` of a GET or HEAD for content that is there, in the order of RFC 9110
 * §13.2.2. Content that goes by its digest has no time of change, so conditions on that are ignored (§13.1.3, §13.1.4).
 * @param etag of the content, strong, with its quotes
 */
export function evaluateConditions(headers: IncomingHttpHeaders, etag: string): ConditionsVerdict {
  const { 'if-match': ifMatch, 'if-none-match': ifNoneMatch } = headers
  if (ifMatch !== undefined && !names(ifMatch, etag, 'strong')) return 'failed'
  if (ifNoneMatch !== undefined && names(ifNoneMatch, etag, 'weak')) return 'not-modified'
  return 'met'
}

/**
 * Whether a `Range` beside this `If-Range` is to be looked at; if not, the whole is sent. A date is never met, as
 * content has no time of change. Source: RFC 9110 §13.1.5.
 * @param etag of the content, strong, with its quotes
 */
export function isRangeWanted(ifRange: string | undefined, etag: string): boolean {
  return ifRange === undefined || (ifRange.trim() !== '*' && names(ifRange, etag, 'strong'))
}

/** An entity tag of a list and what ends it. Clients of Distribution may leave the quotes out. */
const ENTITY_TAG = /[\t ]*(W\/)?(?:"([^"]*)"|([^\t ,"]+))[\t ]*(?:,|$)/y

/** Whether a list of entity tags, or `*`, names `etag`; a weak tag is never strongly the same (RFC 9110 §8.8.3.2). */
function names(header: string, etag: string, comparison: 'strong' | 'weak'): boolean {
  if (header.trim() === '*') return true
  const wanted = etag.slice(1, -1)
  ENTITY_TAG.lastIndex = 0
  for (let at = 0; at < header.length; at = ENTITY_TAG.lastIndex) {
    if (header[at] === ',') {
      // RFC 9110 §5.6.1.2: empty elements of a list are ignored.
      ENTITY_TAG.lastIndex = at + 1
      continue
    }
    const match = ENTITY_TAG.exec(header)
    if (match === null) return false
    const [, weak, quoted, plain] = match
    if ((quoted ?? plain) === wanted && (comparison === 'weak' || weak === undefined)) return true
  }
  return false
}
