import type { IncomingMessage } from 'node:http'

/** Scheme, authority, and path with query. Source: RFC 3986 §3. */
const ABSOLUTE = /^https?:\/\/([^/?#@]+)([^#]*)/i

/**
 * The target of a request as a path with its query. Of one that is a whole URL the host takes the place of what `Host`
 * says. Source: RFC 9112 §3.2.2.
 */
export function toOriginForm(request: IncomingMessage): string {
  const target = request.url ?? '/'
  if (target.startsWith('/')) return target
  const [, host, path = ''] = ABSOLUTE.exec(target) ?? []
  if (host === undefined) return target
  request.headers.host = host
  return path.startsWith('/') ? path : `/${path}`
}
