import { Counter, Gauge, type Registry } from 'prom-client'

/** What the index of lists counts. Names are API. */
export type IndexMetrics = ReturnType<typeof createIndexMetrics>

export function createIndexMetrics(registry: Registry) {
  const registers = [registry]
  return {
    lists: new Counter({
      name: 'shoal_registry_lists_total',
      help: 'Lists answered, by what they are of (repositories, tags, referrers) and from where (index, storage)',
      labelNames: ['of', 'from'],
      registers,
    }),
    walks: new Counter({
      name: 'shoal_registry_index_walks_total',
      help: 'Walks over a repository, or over all names, that make the index know it, by how they ended: done, failed',
      labelNames: ['outcome'],
      registers,
    }),
    repositories: new Gauge({
      name: 'shoal_registry_index_repositories',
      help: 'Repositories whose lists the index answers',
      registers,
    }),
  }
}
