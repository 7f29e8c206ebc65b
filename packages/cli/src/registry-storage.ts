import { access } from 'node:fs/promises'
import { openStorage, type RegistryOptions, type StorageDriver } from '@shoal/registry'
import { CliError } from './errors.ts'

/**
 * The storage that a registry's configuration names. Throws CliError `USAGE` when it is a folder that is not there, or
 * the memory of a process.
 */
export async function storageOf(values: Readonly<Record<string, unknown>>): Promise<StorageDriver> {
  const options = values as RegistryOptions
  const { dataDir, storage } = options
  if (storage.driver === 'memory') {
    throw new CliError('USAGE', 'the registry keeps its content in memory, where no other process can see it')
  }
  if (storage.driver === 'filesystem') {
    await access(dataDir).catch((cause) => {
      throw new CliError(
        'USAGE',
        `there is no folder ${dataDir}: name the registry's with --config or --set dataDir=…`,
        {
          cause,
        },
      )
    })
  }
  return openStorage(options)
}
