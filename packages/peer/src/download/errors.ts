import { ShoalError } from '@shoal/core'

export type DownloadErrorCode =
  /** The origin refused, does not have the blob, or could not be reached; `cause` says which. */
  | 'ORIGIN_FAILED'
  /** The blob is whole and has another digest. */
  | 'DIGEST_MISMATCH'
  /** The disk or the store failed. */
  | 'STORE_FAILED'
  | 'STOPPED'

/** Errors of the download engine. */
export class DownloadError extends ShoalError<DownloadErrorCode> {}
