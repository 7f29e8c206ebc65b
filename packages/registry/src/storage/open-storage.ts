import { readFile } from 'node:fs/promises'
import { CoreError, errorChain } from '@shoal/core'
import type { StorageDriver } from './driver.ts'
import { FilesystemDriver } from './filesystem.ts'
import { MemoryDriver } from './memory.ts'
import type { GcsKey } from './objects/gcs.ts'
import { ObjectDriver } from './objects/object-driver.ts'
import type { StorageOptions } from './options.ts'

const MIB = 1024 * 1024

/**
 * The driver that a configuration names. The client of an object store is loaded only where it is used: each takes tens
 * of MiB of memory. Throws CoreError `CONFIG_INVALID`, which says what is missing.
 */
export async function openStorage(options: {
  readonly dataDir: string
  readonly storage: StorageOptions
}): Promise<StorageDriver> {
  const { storage, dataDir } = options
  if (storage.driver === 'filesystem') return new FilesystemDriver(dataDir)
  if (storage.driver === 'memory') return new MemoryDriver(storage.memoryMiB * MIB)
  const prefix = storage.prefix.replace(/^\/+|\/+$/g, '')
  return openObjects(storage, prefix === '' ? '' : `${prefix}/`)
}

/** @param prefix empty, or with `/` at its end */
async function openObjects(options: StorageOptions, prefix: string): Promise<ObjectDriver> {
  const { partMiB } = options
  switch (options.driver) {
    case 's3': {
      const { accessKeyId, secretAccessKeyFile, ...s3 } = sectionOf(options, 's3')
      if ((accessKeyId === undefined) !== (secretAccessKeyFile === undefined)) {
        throw invalid('s3', 'give accessKeyId and secretAccessKeyFile together, or neither')
      }
      const { S3Store } = await import('./objects/s3.ts')
      if (accessKeyId === undefined || secretAccessKeyFile === undefined)
        return new ObjectDriver(new S3Store({ ...s3, partMiB }), prefix)
      const secretAccessKey = await secretIn('s3.secretAccessKeyFile', secretAccessKeyFile)
      return new ObjectDriver(new S3Store({ ...s3, partMiB, credentials: { accessKeyId, secretAccessKey } }), prefix)
    }
    case 'azure': {
      const { accountKeyFile, ...azure } = sectionOf(options, 'azure')
      const accountKey = await secretIn('azure.accountKeyFile', accountKeyFile)
      const { AzureStore } = await import('./objects/azure.ts')
      return new ObjectDriver(new AzureStore({ ...azure, accountKey, partMiB }), prefix)
    }
    case 'gcs': {
      const { keyFile, ...gcs } = sectionOf(options, 'gcs')
      const key = keyFile === undefined ? undefined : keyOf(await secretIn('gcs.keyFile', keyFile))
      const { GcsStore } = await import('./objects/gcs.ts')
      return new ObjectDriver(new GcsStore({ ...gcs, key, partMiB }), prefix)
    }
    case 'swift': {
      const { passwordFile, tempUrlKeyFile, ...swift } = sectionOf(options, 'swift')
      const password = await secretIn('swift.passwordFile', passwordFile)
      const tempUrlKey = tempUrlKeyFile && (await secretIn('swift.tempUrlKeyFile', tempUrlKeyFile))
      const { SwiftStore } = await import('./objects/swift.ts')
      // Swift's driver in Distribution has a folder of its own for files.
      return new ObjectDriver(new SwiftStore({ ...swift, password, prefix, tempUrlKey }), '')
    }
    default:
      throw new Error(`${options.driver} is not an object store`)
  }
}

function sectionOf<K extends 's3' | 'azure' | 'gcs' | 'swift'>(
  options: StorageOptions,
  name: K,
): NonNullable<StorageOptions[K]> {
  const section = options[name]
  if (section === undefined) throw invalid(name, `the driver ${name} needs it: say where the content is`)
  return section
}

function keyOf(json: string): GcsKey {
  let key: Partial<Record<keyof GcsKey, unknown>> | null
  try {
    key = JSON.parse(json)
  } catch {
    // What is wrong with the JSON would be told with a part of it.
    throw invalid('gcs.keyFile', 'it is not JSON: name the key file of a service account')
  }
  const { client_email, private_key } = key ?? {}
  if (typeof client_email === 'string' && typeof private_key === 'string') return { client_email, private_key }
  throw invalid('gcs.keyFile', 'it has no client_email and private_key: name the key file of a service account')
}

async function secretIn(name: string, path: string): Promise<string> {
  let secret: string
  try {
    secret = (await readFile(path, 'utf8')).trim()
  } catch (cause) {
    throw invalid(name, `${path} can not be read: ${errorChain(cause)}`)
  }
  if (secret === '') throw invalid(name, `${path} is empty`)
  return secret
}

function invalid(name: string, why: string): CoreError {
  return new CoreError('CONFIG_INVALID', `storage.${name}: ${why}`)
}
