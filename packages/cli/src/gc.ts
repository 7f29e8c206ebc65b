import { access } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { type Collected, collectOffline, FilesystemDriver, registryService } from '@shoal/registry'
import { type ConfigSources, loadServiceConfig } from './configure.ts'
import { CliError } from './errors.ts'
import { mebibytes } from './pull/progress.ts'

const HOUR_MS = 3_600_000

/**
 * Collects garbage in the folder of a registry's configuration, which must not run; its `gc` options say what. Throws
 * CliError `USAGE` when there is no such folder.
 */
export async function collectGarbage(
  options: ConfigSources & { readonly json: boolean; readonly dryRun: boolean },
  { stdout }: { stdout: Writable },
): Promise<void> {
  const { values } = await loadServiceConfig(registryService, options)
  const { dataDir, gc } = values as { dataDir: string; gc: { graceHours: number; untagged: 'keep' | 'remove' } }
  await access(dataDir).catch((cause) => {
    throw new CliError('USAGE', `there is no folder ${dataDir}: name the registry's with --config or --set dataDir=…`, {
      cause,
    })
  })
  const { graceHours, untagged } = gc
  const collection = { graceMs: graceHours * HOUR_MS, untagged, isDryRun: options.dryRun }
  const collected = await collectOffline(new FilesystemDriver(dataDir), collection)
  stdout.write(options.json ? `${JSON.stringify(collected)}\n` : describe(collected, options.dryRun))
}

function describe(collected: Collected, isDryRun: boolean): string {
  const { repositories, manifests, removedManifests, layers, removedLayers, blobs, removedBlobs } = collected
  const removed = isDryRun ? 'would remove' : 'removed'
  const lines = [
    ...collected.unreadable.map((where) => `can not be read, so its repository keeps all: ${where}`),
    `looked at ${repositories} repositories`,
    `${removed} ${removedManifests} of ${manifests} manifests, ${removedLayers} of ${layers} blobs of repositories`,
    `${removed} ${removedBlobs} of ${blobs} stored files, ${mebibytes(collected.removedBytes)}`,
  ]
  return `${lines.join('\n')}\n`
}
