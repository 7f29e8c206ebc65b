import { isPrivateHost } from './address.ts'
import { type Endpoint, mayBePrivate } from './endpoint.ts'
import { originError, type Subject } from './errors.ts'

/** Redirects followed for one request. */
export const MAX_REDIRECTS = 5

const MAX_LOCATION_LENGTH = 8192
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308])

/** Whether `status` asks to go elsewhere. */
export function isRedirect(status: number): boolean {
  return REDIRECTS.has(status)
}

/** Where a redirect leads; throws OriginError `PROTOCOL` for none, `NOT_ALLOWED` for one that is not followed. */
export function redirectTarget(endpoint: Endpoint, from: URL, location: string | undefined, subject: Subject): URL {
  if (location === undefined || location.length > MAX_LOCATION_LENGTH || !URL.canParse(location, from)) {
    throw originError('PROTOCOL', subject, 'the origin redirects without a usable Location')
  }
  const to = new URL(location, from)
  to.hash = ''
  const refusal = hopRefusal(endpoint, from, to)
  if (refusal !== undefined) {
    throw originError('NOT_ALLOWED', subject, `the origin redirects to ${to.host}, which is not followed: ${refusal}`, {
      data: { isRetryable: false },
    })
  }
  return to
}

/** Why a host may not send us from `from` to `to` on behalf of `endpoint`; undefined when it may. */
export function hopRefusal(endpoint: Endpoint, from: URL, to: URL): string | undefined {
  if (to.protocol !== 'https:' && to.protocol !== 'http:') return 'it is neither https nor http'
  if (from.protocol === 'https:' && to.protocol === 'http:') return 'it leads from https to http'
  if (to.username !== '' || to.password !== '') return 'its URL holds credentials'
  if (isPrivateHost(to.hostname) && !mayBePrivate(endpoint, to)) {
    return endpoint.isListed
      ? 'it is a private address, or this machine, and is not in the redirectHosts or tokenHosts of the registry'
      : 'it is a private address, or this machine'
  }
  return undefined
}

/** Whether credentials for `a` may be sent to `b`: same scheme, host and port. */
export function isSameOrigin(a: URL, b: URL): boolean {
  return a.origin === b.origin
}
