import { isIpHost } from './address.ts'
import type { Challenge } from './challenge.ts'
import type { Endpoint } from './endpoint.ts'
import { hopRefusal } from './redirect.ts'

/** What a Bearer challenge asks a token for. Source: Distribution, spec/auth/token.md. */
export interface TokenDemand {
  readonly realm: URL
  readonly service: string | undefined
  readonly scopes: readonly string[]
}

const MAX_REALM_LENGTH = 2048
const MAX_SCOPES = 16

/** The demand of a Bearer challenge; pull of `repository` where it names no scope; undefined when it is malformed. */
export function tokenDemand(challenge: Challenge, repository: string): TokenDemand | undefined {
  const realm = challenge.parameters.get('realm')
  if (realm === undefined || realm.length > MAX_REALM_LENGTH || !URL.canParse(realm)) return undefined
  const scopes = (challenge.parameters.get('scope') ?? '').split(' ').filter((scope) => scope !== '')
  return {
    realm: new URL(realm),
    service: challenge.parameters.get('service'),
    scopes: scopes.length === 0 ? [`repository:${repository}:pull`] : scopes.slice(0, MAX_SCOPES),
  }
}

/** Why a token may not be asked for at `realm` at all; undefined when it may be, without credentials at least. */
export function realmRefusal(endpoint: Endpoint, realm: URL): string | undefined {
  return hopRefusal(endpoint, endpoint.base, realm)
}

/**
 * Whether the endpoint's credentials may be sent to `realm`: an origin (or who can alter its answers) must not be
 * able to have them sent to a host of its choice. Safe are the origin's host, hosts under the same registrable
 * domain, and `tokenHosts`; over https, unless the origin itself is a listed http one.
 */
export function mayReceiveCredentials(endpoint: Endpoint, realm: URL): boolean {
  const { base } = endpoint
  if (realm.protocol !== 'https:' && !(realm.protocol === 'http:' && base.protocol === 'http:' && endpoint.isListed)) {
    return false
  }
  if (realm.hostname === base.hostname) return true
  if (endpoint.tokenHosts.has(realm.hostname) || endpoint.tokenHosts.has(realm.host)) return true
  const parent = registrableDomain(base.hostname)
  return parent !== undefined && parent === registrableDomain(realm.hostname)
}

/** Labels under which countries hand out names: `co.uk` belongs to no one. */
const SHARED_LABELS: ReadonlySet<string> = new Set('ac co com edu go gov ne net or org'.split(' '))

/**
 * The last two labels of a DNS name, or three where the last two are a country's shared second level: a simple rule
 * instead of the public suffix list, which would have to be kept fresh on every node.
 */
function registrableDomain(hostname: string): string | undefined {
  if (isIpHost(hostname)) return undefined
  const labels = hostname.replace(/\.$/, '').split('.')
  const isShared = labels.at(-1)?.length === 2 && SHARED_LABELS.has(labels.at(-2) ?? '')
  const wanted = isShared ? 3 : 2
  return labels.length < wanted ? undefined : labels.slice(-wanted).join('.')
}
