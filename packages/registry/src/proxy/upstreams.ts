import { CoreError, fullRepositoryName, isRegistryHost, isRepositoryName } from '@shoal/core'
import { RegistryError } from '../errors.ts'
import type { RetentionPolicy } from '../retention/options.ts'
import type { ProxyOptions } from './options.ts'

/** A repository of another registry. */
export interface UpstreamRepository {
  /** As image references name it. */
  readonly registry: string
  /** As it is called there. */
  readonly repository: string
}

/** What a request says of whom it means. */
interface Asked {
  /** As in the path. */
  readonly repository: string
  /** The `ns` parameter, in which containerd, and nodes of ours, name the registry. */
  readonly ns: string | undefined
  /** The `Host` that the client connected to. */
  readonly host: string
}

/**
 * Which repositories are other registries'. Here they are called by a prefix, their registry's name unless configured:
 * `docker.io/library/nginx` is Docker Hub's `library/nginx`.
 */
export class Upstreams {
  /** Prefix, with `/` at its end → registry. */
  readonly #registries = new Map<string, string>()
  readonly #prefixes = new Map<string, string>()
  readonly #default: string | undefined
  readonly #names: ReadonlySet<string>

  /** Throws CoreError `CONFIG_INVALID`. */
  constructor({ upstreams, default: fallback, names }: Pick<ProxyOptions, 'upstreams' | 'default' | 'names'>) {
    for (const [key, { prefix }] of Object.entries(upstreams)) {
      if (!isRegistryHost(key)) throw invalid(`upstreams.${key}`, 'write the key as host or host:port')
      const registry = key.toLowerCase()
      this.#add(registry, prefix ?? registry, `upstreams.${key}.prefix`)
    }
    this.#default = fallback?.toLowerCase()
    if (this.#default !== undefined && !this.#prefixes.has(this.#default)) {
      throw invalid('default', `"${fallback}" is none of proxy.upstreams: list it there`)
    }
    this.#names = new Set(names.map((name) => name.toLowerCase()))
  }

  get isEmpty(): boolean {
    return this.#registries.size === 0
  }

  /** Globs of all repositories that are other registries'. */
  get globs(): string[] {
    return [...this.#registries.keys()].map((prefix) => `${prefix}**`)
  }

  /** Whose a repository is that is called so here; undefined when it is our own. */
  of(repository: string): UpstreamRepository | undefined {
    for (const [prefix, registry] of this.#registries) {
      if (repository.startsWith(prefix)) return { registry, repository: repository.slice(prefix.length) }
    }
    return undefined
  }

  /**
   * What the repository that a request means is called here.
   * @param isOurs whether there is a repository of our own of that name
   * @throws RegistryError `NAME_UNKNOWN` when it means a registry that is no upstream, `NAME_INVALID`
   */
  async nameOf({ repository, ns, host }: Asked, isOurs: (name: string) => Promise<boolean>): Promise<string> {
    const registry = ns?.toLowerCase()
    if (registry !== undefined) {
      if (this.#prefixes.has(registry)) return this.#nameAt(registry, repository)
      if (registry !== host.toLowerCase() && !this.#names.has(registry)) throw notAnUpstream(registry)
      return repository
    }
    const known = this.of(repository)
    if (known !== undefined) return this.#nameAt(known.registry, known.repository)
    if (this.#default === undefined || (await isOurs(repository))) return repository
    return this.#nameAt(this.#default, repository)
  }

  /** The policy by which images go that nobody pulled for so long; undefined when they stay. */
  retentionPolicy(keepHours: number): RetentionPolicy | undefined {
    if (this.isEmpty || keepHours === 0) return undefined
    const lately = { pushedWithinHours: keepHours, pulledWithinHours: keepHours }
    return { repositories: this.globs, untagged: 'remove', keepUntagged: lately, keepTags: [lately] }
  }

  #add(registry: string, prefix: string, key: string): void {
    if (!isRepositoryName(prefix)) {
      throw invalid(
        key,
        `"${prefix}" can not begin a repository's name: give one of lower-case letters and digits with . _ - / between them`,
      )
    }
    for (const [other, its] of this.#registries) {
      if (other.startsWith(`${prefix}/`) || `${prefix}/`.startsWith(other)) {
        throw invalid(key, `"${prefix}" and the prefix of ${its} are not apart: give another one`)
      }
    }
    this.#registries.set(`${prefix}/`, registry)
    this.#prefixes.set(registry, prefix)
  }

  #nameAt(registry: string, repository: string): string {
    const name = `${this.#prefixes.get(registry)}/${fullRepositoryName(registry, repository)}`
    if (isRepositoryName(name)) return name
    throw new RegistryError(
      'NAME_INVALID',
      `${name.slice(0, 255)} is longer than the 255 characters that a name may have`,
    )
  }
}

function notAnUpstream(registry: string): RegistryError {
  const name = registry.slice(0, 261)
  return new RegistryError(
    'NAME_UNKNOWN',
    `this registry does not stand before ${name}: its operator can list that under proxy.upstreams, or under proxy.names if it is this one`,
  )
}

function invalid(key: string, why: string): CoreError {
  return new CoreError('CONFIG_INVALID', `proxy.${key}: ${why}`)
}
