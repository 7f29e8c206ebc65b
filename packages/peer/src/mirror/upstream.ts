import { fullRepositoryName, isRegistryHost } from '@shoal/core'

/** Which registry and repository a request means. */
export interface Upstream {
  readonly registry: string
  readonly repository: string
}

/**
 * The registry that a query names in `ns`; undefined: it names none. Who appends it to links of ours gives it twice.
 */
export function namespaceIn(query: unknown): string | 'several' | undefined {
  const { ns } = query as { readonly ns?: string | readonly string[] }
  const [first, ...others] = [ns ?? []].flat()
  return others.every((other) => other === first) ? first : 'several'
}

/**
 * Finds the registry a request means: containerd names it in `ns`; Podman and CRI-O can put it before the repository
 * (`/v2/quay.io/org/app/…`, taken as a registry when it is a listed origin, or has a dot or a colon); Docker, which
 * mirrors its own Hub alone, names none and gets `defaultRegistry`. Undefined when `ns` is not a host.
 */
export function findUpstream(
  repository: string,
  ns: string | undefined,
  options: { defaultRegistry: string; listed: ReadonlySet<string> },
): Upstream | undefined {
  if (ns !== undefined)
    return isRegistryHost(ns) ? { registry: ns, repository: fullRepositoryName(ns, repository) } : undefined
  const slash = repository.indexOf('/')
  const first = repository.slice(0, Math.max(0, slash))
  const isRegistry = first !== '' && (options.listed.has(first) || /[.:]/.test(first)) && isRegistryHost(first)
  const registry = isRegistry ? first : options.defaultRegistry
  return { registry, repository: fullRepositoryName(registry, isRegistry ? repository.slice(slash + 1) : repository) }
}
