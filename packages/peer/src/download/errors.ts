import { ShoalError } from '@shoal/core'

export type DownloadErrorCode =
  /** The origin refused, does not have the blob, or could not be reached; `cause` says which. */
  | 'ORIGIN_FAILED'
  /** The blob is whole and has another digest. */
  | 'DIGEST_MISMATCH'
  /** What this node has, or is getting, of the blob is not for clients of this origin: they get the origin's own bytes. */
  | 'NOT_SHARED'
  /** The disk or the store failed. */
  | 'STORE_FAILED'
  | 'STOPPED'

/** Errors of the download engine. */
export class DownloadError extends ShoalError<DownloadErrorCode> {}
