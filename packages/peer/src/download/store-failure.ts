import { ShoalError } from '@shoal/core'
import { LaneError } from '../lane/errors.ts'
import { StoreError } from '../store/errors.ts'
import { DownloadError } from './errors.ts'

const FULL: ReadonlySet<unknown> = new Set(['ENOSPC', 'EDQUOT'])
const BROKEN: ReadonlySet<unknown> = new Set(['EIO', 'EROFS', 'ENOENT', 'EACCES', 'EPERM', 'ENODEV', 'ENXIO', 'ESTALE'])

/** Whether a blob can not be given, or kept, because of this node's disk: the origin may still have it. */
export function isStoreFailure(error: unknown): boolean {
  if (error instanceof DownloadError) return error.code === 'STORE_FAILED'
  if (error instanceof StoreError) return error.code === 'NO_SPACE' || error.code === 'IO'
  return error instanceof Error && (error as NodeJS.ErrnoException).syscall === 'read'
}

/** Whether a reader may go on with its origin's own bytes: this node has none for it, or cannot give or keep them. */
export function mayPassThrough(error: unknown): boolean {
  if (error instanceof DownloadError && error.code === 'NOT_SHARED') return true
  return isStoreFailure(error) || (error instanceof StoreError && error.code === 'SIZE_CONFLICT')
}

/** The store's error for what a worker thread could not do with a file; undefined for every other failure. */
export function storeErrorOf(error: unknown): StoreError | undefined {
  if (!(error instanceof LaneError) || error.code !== 'local') return undefined
  const { systemCode } = error.data
  const options = { cause: error, data: { systemCode } }
  if (FULL.has(systemCode)) return new StoreError('NO_SPACE', 'the disk is full, and nothing may be evicted', options)
  return BROKEN.has(systemCode) ? new StoreError('IO', 'the disk failed', options) : undefined
}

/** Whether a file that the index speaks of is not there. */
export function isFileGone(error: unknown): boolean {
  return error instanceof ShoalError && error.data.systemCode === 'ENOENT'
}
