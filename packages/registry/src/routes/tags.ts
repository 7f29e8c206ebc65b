import { RegistryError } from '../errors.ts'
import { repositories } from '../storage/catalog.ts'
import type { StorageDriver } from '../storage/driver.ts'
import type { ManifestStore } from '../storage/manifests.ts'
import type { Handlers } from './exchange.ts'
import { nextPageLink, parsePage } from './pages.ts'

/** Pages of a repository's tags. */
export const TAG_PAGES = { usual: 10_000, most: 10_000, above: 'clamp' } as const
/** As in Distribution. */
const CATALOG_PAGES = { usual: 100, most: 1000, above: 'refuse' } as const

/** `/v2/<name>/tags/list` */
export function tagRoutes(manifests: ManifestStore): Handlers<'tags'> {
  return {
    GET: async ({ query, reply }, { repository }) => {
      const { limit, last } = parsePage(query, TAG_PAGES)
      if (!(await manifests.knows(repository))) {
        throw new RegistryError('NAME_UNKNOWN', `there is no repository ${repository}: check the name, or push to it`)
      }
      const found = limit === 0 ? [] : await manifests.tags(repository, limit + 1, last)
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
export function catalogRoutes(driver: StorageDriver): Handlers<'catalog'> {
  return {
    GET: async ({ query, reply }) => {
      const { limit, last } = parsePage(query, CATALOG_PAGES)
      const found: string[] = []
      for await (const name of repositories(driver, last)) {
        if (found.length >= limit) {
          if (limit > 0)
            reply.header('link', nextPageLink('/v2/_catalog', { n: String(limit), last: found.at(-1) ?? '' }))
          break
        }
        found.push(name)
      }
      return reply.send({ repositories: found })
    },
  }
}
