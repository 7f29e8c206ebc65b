import { ShoalError, systemErrorCode } from '@shoal/core'

export type StoreErrorCode = 'NO_SPACE' | 'IO' | 'SIZE_CONFLICT' | 'IN_USE_ELSEWHERE'

/** Errors of the node's blob store. */
export class StoreError extends ShoalError<StoreErrorCode> {}

/** The store's error for a failed file operation on `path`. */
export function storeIoError(action: string, path: string, cause: unknown): StoreError {
  const code = systemErrorCode(cause)
  if (code === 'ENOSPC' || code === 'EDQUOT') {
    return new StoreError('NO_SPACE', `can not ${action} ${path}: the disk is full; free space or move dataDir`, {
      cause,
    })
  }
  return new StoreError('IO', `can not ${action} ${path} (${code ?? 'unknown error'})`, { cause })
}
