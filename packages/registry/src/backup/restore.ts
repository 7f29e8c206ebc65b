import { RegistryError } from '../errors.ts'
import type { StorageDriver } from '../storage/driver.ts'
import { BLOBS, REPOSITORIES } from '../storage/paths.ts'
import type { BackupProgress } from './backup.ts'
import { copyFile } from './copy.ts'
import { checkLedger, readLedger } from './ledger.ts'

interface RestoreOptions {
  /** Whether the target may hold repositories already; tags of the backup take the place of its own. */
  readonly isMerge: boolean
  readonly progress?: (soFar: BackupProgress) => void
}

/**
 * Copies a backup into the storage of a registry that does not run. Every file is checked against the backup's ledger
 * before it gets its name; content comes before what points at it, so a restore that is broken off shows nothing by half
 * and can be done again.
 * @throws RegistryError `UNKNOWN` when the backup is damaged, or the target is not empty and `isMerge` is not set
 */
export async function restore(
  backup: StorageDriver,
  target: StorageDriver,
  { isMerge, progress }: RestoreOptions,
): Promise<BackupProgress> {
  await checkLedger(backup)
  if (!isMerge && (await target.list(REPOSITORIES)).length > 0) {
    throw new RegistryError('UNKNOWN', 'there are repositories already: restore into an empty storage, or say --merge')
  }
  const seen = { files: 0, bytes: 0, copiedBytes: 0 }
  const repositories = new Set<string>()
  for await (const file of readLedger(backup)) {
    const isContent = file.path.startsWith(`${BLOBS}/`)
    if (!isContent) repositories.add(repositoryOf(file.path))
    // Content of the right size is what an earlier restore left, or is the registry's own.
    const isThere = isContent && (await target.stat(file.path))?.sizeBytes === file.sizeBytes
    if (!isThere) {
      await copyFile({ from: backup, path: file.path, to: target }, ['sha256'], ({ sizeBytes, digests }) => {
        if (sizeBytes === file.sizeBytes && digests.sha256 === file.sha256) return
        throw new RegistryError('UNKNOWN', `the backup is damaged: ${file.path} is not what it was`)
      })
      seen.copiedBytes += file.sizeBytes
    }
    seen.files++
    seen.bytes += file.sizeBytes
    progress?.({ ...seen, repositories: repositories.size })
  }
  return { ...seen, repositories: repositories.size }
}

function repositoryOf(path: string): string {
  return path.slice(REPOSITORIES.length + 1).replace(/\/_(?:layers|manifests)\/.*$/, '')
}
