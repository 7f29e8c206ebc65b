import { errorChain, ShoalError, systemErrorCode } from '@shoal/core'

export type StoreErrorCode =
  /** The disk, or what may be kept on it, is full. */
  | 'NO_SPACE'
  /** The disk failed, or the folder is not as it must be. */
  | 'IO'
  /** The blob is held with another size. */
  | 'SIZE_CONFLICT'
  /** Another process uses the data folder. */
  | 'IN_USE_ELSEWHERE'

/** Errors of the node's blob store. */
export class StoreError extends ShoalError<StoreErrorCode> {}

/** The store's error for a failed file operation on `path`; a StoreError stays as it is. */
export function storeIoError(action: string, path: string, cause: unknown): StoreError {
  if (cause instanceof StoreError) return cause
  if (isDiskFull(cause)) {
    return new StoreError('NO_SPACE', `can not ${action} ${path}: the disk is full; free space or move dataDir`, {
      cause,
    })
  }
  return new StoreError('IO', `can not ${action} ${path} (${systemErrorCode(cause) ?? 'unknown error'})`, { cause })
}

/** Whether the system said that the disk, or the user's share of it, is full. */
export function isDiskFull(error: unknown): boolean {
  const code = systemErrorCode(error)
  // LevelDB has the system's words, and no code.
  return code === 'ENOSPC' || code === 'EDQUOT' || /No space left on device|quota exceeded/.test(errorChain(error))
}
