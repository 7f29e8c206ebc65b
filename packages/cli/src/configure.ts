import {
  environmentLayers,
  environmentVariables,
  type LoadedConfig,
  ownVariables,
  readConfigFile,
  refuseUnknownVariables,
  resolveConfig,
  type ServiceDefinition,
  settingLayer,
  withoutSecrets,
} from '@shoal/core/service'
import { stringify } from 'yaml'

/** A service that `shoal <name> --config FILE` starts. */
export interface ServiceCommand {
  readonly name: string
  /** One line for `--help`. */
  readonly summary: string
  /** Loads its code: a process holds only the service that it runs. */
  readonly load: () => Promise<ServiceDefinition>
}

export const SERVICES: readonly ServiceCommand[] = [
  {
    name: 'registry',
    summary: 'is the origin: an OCI registry on the storage layout of Distribution',
    load: async () => (await import('@shoal/registry')).registryService,
  },
  {
    name: 'scheduler',
    summary: 'decides which node sends which piece of a blob to whom',
    load: async () => (await import('@shoal/scheduler')).schedulerService,
  },
  {
    name: 'seed',
    summary: 'fetches blobs from their origin once, on behalf of all nodes, and sends them on',
    load: async () => (await import('@shoal/seed')).seedService,
  },
  {
    name: 'peer',
    summary: 'mirrors registries for the container runtimes of its host, and shares blobs with other nodes',
    load: async () => (await import('@shoal/peer')).peerService,
  },
]

/** Where a command takes options from, besides the defaults. */
export interface ConfigSources {
  readonly config?: string | undefined
  readonly set: readonly string[]
  readonly environment: Readonly<Record<string, string | undefined>>
}

/**
 * Throws CoreError `CONFIG_INVALID` when a `SHOAL_…` variable sets an option of no service. Those of other services are
 * let be, as several may share an environment; their code is loaded only to tell.
 */
async function refuseUnknown(schema: ServiceDefinition['schema'], environment: ConfigSources['environment']) {
  const own = environmentVariables(schema)
  const others = ownVariables(environment).filter((name) => !own.has(name))
  if (others.length > 0)
    refuseUnknownVariables(others, new Set([...(await variablesByService()).values()].flatMap((v) => [...v])))
}

/** The variables that set options, by the name of the service. Loads the code of all services. */
export async function variablesByService(): Promise<ReadonlyMap<string, ReadonlySet<string>>> {
  const all = SERVICES.map(async ({ name, load }) => [name, environmentVariables((await load()).schema)] as const)
  return new Map(await Promise.all(all))
}

/** A service's options: defaults, under the file, under `SHOAL_…` variables, under `--set`. Throws CoreError. */
export async function loadServiceConfig(
  { schema }: ServiceDefinition,
  sources: ConfigSources,
): Promise<LoadedConfig<Record<string, unknown>>> {
  await refuseUnknown(schema, sources.environment)
  const layers = [
    ...(sources.config === undefined ? [] : [await readConfigFile(sources.config)]),
    ...environmentLayers(schema, sources.environment),
    ...sources.set.map((setting) => settingLayer(schema, setting)),
  ]
  return resolveConfig(schema, layers)
}

/** The options in force as YAML, each line with where its value came from; secrets are hidden. */
export function describeConfig(
  { schema }: ServiceDefinition,
  { values, sources }: LoadedConfig<Record<string, unknown>>,
): string {
  const lines = stringify(withoutSecrets(schema, values), { lineWidth: 0 }).trimEnd().split('\n')
  const path: { indent: number; key: string }[] = []
  const described = lines.map((line) => {
    const match = /^( *)("?)([^\s"#-][^"]*?)\2:(?: |$)/.exec(line)
    if (match === null) return line
    const indent = (match[1] ?? '').length
    while ((path.at(-1)?.indent ?? -1) >= indent) path.pop()
    path.push({ indent, key: match[3] ?? '' })
    const source = sources.get(path.map(({ key }) => key).join('.'))
    return source === undefined ? line : `${line} # ${source}`
  })
  return `${described.join('\n')}\n`
}
