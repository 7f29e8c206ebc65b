import type { ServiceDefinition } from '@shoal/core/service'
import { registryOptions } from './options.ts'
import { createRegistryService } from './service.ts'

export { type ArchiveProgress, exportImages } from './archive/export.ts'
export { parseImageName, parsePlatform } from './archive/image-name.ts'
export { type ImportedImage, importImages } from './archive/import.ts'
export { type BackupProgress, backUp } from './backup/backup.ts'
export { restore } from './backup/restore.ts'
export { type Collected, collectOffline } from './gc/offline.ts'
export type { RegistryOptions } from './options.ts'
export { Upstreams } from './proxy/upstreams.ts'
export { quarantine } from './quarantine.ts'
export { retentionPolicies } from './retention-policies.ts'
export type { StorageDriver } from './storage/driver.ts'
export { FilesystemDriver } from './storage/filesystem.ts'
export { openStorage } from './storage/open-storage.ts'
export { type Finding, type Verified, verifyStorage } from './verify.ts'
export { whileStopped } from './while-stopped.ts'

/** The origin registry, for the command that runs it. */
export const registryService: ServiceDefinition<typeof registryOptions> = {
  name: 'registry',
  schema: registryOptions,
  create: createRegistryService,
}
