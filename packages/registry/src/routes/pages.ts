import { RegistryError } from '../errors.ts'

/** What a client asks of a list: at most `limit` entries, all after `last`. */
export interface PageRequest {
  readonly limit: number
  readonly last: string | undefined
}

/**
 * Reads `n` and `last`. Source: OCI distribution-spec 1.1, "Listing tags".
 * @param most the largest page; what happens to a larger `n` is `above`
 * @throws RegistryError `PAGINATION_NUMBER_INVALID`
 */
export function parsePage(
  query: URLSearchParams,
  limits: { readonly usual: number; readonly most: number; readonly above: 'refuse' | 'clamp' },
): PageRequest {
  const text = query.get('n')
  const last = query.get('last') || undefined
  if (text === null || text === '') return { limit: limits.usual, last }
  const limit = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN
  if (Number.isNaN(limit) || (limit > limits.most && limits.above === 'refuse')) {
    throw new RegistryError(
      'PAGINATION_NUMBER_INVALID',
      `n is "${text.slice(0, 32)}": write a whole number from 0 to ${limits.most}`,
    )
  }
  return { limit: Math.min(limit, limits.most), last }
}

/** The `Link` header to the page after the entry `last`. Source: RFC 5988. */
export function nextPageLink(path: string, parameters: Readonly<Record<string, string>>): string {
  return `<${path}?${new URLSearchParams(parameters)}>; rel="next"`
}
