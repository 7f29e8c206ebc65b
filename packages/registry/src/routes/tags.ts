import { RegistryError } from '../errors.ts'
import type { Listings } from '../listings/listings.ts'
import type { Handlers } from './exchange.ts'
import { nextPageLink, parsePage } from './pages.ts'

/** Pages of a repository's tags. */
export const TAG_PAGES = { usual: 10_000, most: 10_000, above: 'clamp' } as const
/** As in Distribution. */
const CATALOG_PAGES = { usual: 100, most: 1000, above: 'refuse' } as const

/** `/v2/<name>/tags/list` */
export function tagRoutes(listings: Pick<Listings, 'tags'>): Handlers<'tags'> {
  return {
    GET: async ({ query, reply }, { repository }) => {
      const { limit, last } = parsePage(query, TAG_PAGES)
      const found = await listings.tags(repository, limit === 0 ? 0 : limit + 1, last)
      if (found === undefined) {
        throw new RegistryError('NAME_UNKNOWN', `there is no repository ${repository}: check the name, or push to it`)
      }
      const tags = found.slice(0, limit)
      if (found.length > limit) {
        const next = { n: String(limit), last: tags.at(-1) ?? '' }
        reply.header('link', nextPageLink(`/v2/${repository}/tags/list`, next))
      }
      return reply.send({ name: repository, tags })
    },
  }
}

/** `/v2/_catalog`. Source: Distribution's API. */
export function catalogRoutes(listings: Pick<Listings, 'repositories'>): Handlers<'catalog'> {
  return {
    GET: async ({ query, reply }) => {
      const { limit, last } = parsePage(query, CATALOG_PAGES)
      const found = await listings.repositories(limit === 0 ? 0 : limit + 1, last)
      const page = found.slice(0, limit)
      if (found.length > limit) {
        reply.header('link', nextPageLink('/v2/_catalog', { n: String(limit), last: page.at(-1) ?? '' }))
      }
      return reply.send({ repositories: page })
    },
  }
}
