import type { ResponseHead } from './exchange.ts'
import { headerValues } from './follow.ts'

const MAX_QUERY_LENGTH = 4096
/** A link and its parameters. Source: RFC 8288 §3. */
const LINK = /<([^>]*)>((?:[^,"]|"[^"]*")*)/g
const REL = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,]+))/i

/**
 * What asks for the next page of a list: the query of the link to it, as it was given. Registries have words of their own
 * for their pages; where the link leads besides is theirs alone, as the list is asked for where it was. Undefined when
 * there is no next page.
 */
export function nextQuery(head: ResponseHead, asked: URL): string | undefined {
  const links = [...headerValues(head, 'link').join(', ').matchAll(LINK)]
  const next =
    links.find(([, , parameters = '']) => relationsOf(parameters)?.includes('next')) ??
    links.find(([, , parameters = '']) => relationsOf(parameters) === undefined)
  const url = next?.[1]
  if (url === undefined || !URL.canParse(url, asked)) return undefined
  const query = withoutNs(new URL(url, asked).search.slice(1))
  return query === '' || query.length > MAX_QUERY_LENGTH ? undefined : query
}

/** A query without the parameter by which mirrors tell registries apart; all else as it is. */
export function withoutNs(query: string): string {
  return query
    .split('&')
    .filter((parameter) => parameter !== '' && parameter !== 'ns' && !parameter.startsWith('ns='))
    .join('&')
}

function relationsOf(parameters: string): string[] | undefined {
  const [, quoted, bare] = REL.exec(parameters) ?? []
  return (quoted ?? bare)?.toLowerCase().split(/\s+/)
}
