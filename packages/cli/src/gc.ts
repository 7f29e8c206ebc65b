import type { Writable } from 'node:stream'
import {
  type Collected,
  collectOffline,
  type RegistryOptions,
  registryService,
  retentionPolicies,
  whileStopped,
} from '@shoal/registry'
import { type ConfigSources, loadServiceConfig } from './configure.ts'
import { CliError } from './errors.ts'
import { mebibytes } from './pull/progress.ts'
import { storageOf } from './registry-storage.ts'

const HOUR_MS = 3_600_000

/**
 * Collects garbage in the folder of a registry's configuration, which must not run; its `gc` options say what. Throws
 * CliError `USAGE` when there is no such folder, or the registry has replicas.
 */
export async function collectGarbage(
  options: ConfigSources & { readonly json: boolean; readonly dryRun: boolean },
  { stdout }: { stdout: Writable },
): Promise<void> {
  const { values } = await loadServiceConfig(registryService, options)
  const registry = values as RegistryOptions
  if (registry.replicas.redis !== undefined) {
    throw new CliError(
      'USAGE',
      'the registry has replicas, which would not know of it: ask one that runs, by POST /api/v1/gc on its metrics port',
    )
  }
  const { graceHours, untagged } = registry.gc
  const collection = { graceMs: graceHours * HOUR_MS, untagged, isDryRun: options.dryRun }
  const retention = { policies: retentionPolicies(registry), dataDir: registry.dataDir }
  const storage = await storageOf(values)
  const collected = await whileStopped(registry.dataDir, () => collectOffline(storage, collection, retention))
  stdout.write(options.json ? `${JSON.stringify(collected)}\n` : describe(collected, options.dryRun))
}

function describe(collected: Collected, isDryRun: boolean): string {
  const { repositories, removedTags, manifests, removedManifests, layers, removedLayers, blobs, removedBlobs } =
    collected
  const removed = isDryRun ? 'would remove' : 'removed'
  const lines = [
    ...collected.unreadable.map((where) => `can not be read, so its repository keeps all: ${where}`),
    `looked at ${repositories} repositories`,
    `${removed} ${removedTags} tags that no retention policy keeps`,
    `${removed} ${removedManifests} of ${manifests} manifests, ${removedLayers} of ${layers} blobs of repositories`,
    `${removed} ${removedBlobs} of ${blobs} stored files, ${mebibytes(collected.removedBytes)}`,
  ]
  return `${lines.join('\n')}\n`
}
