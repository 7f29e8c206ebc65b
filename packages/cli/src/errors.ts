import { ShoalError } from '@shoal/core'

export type CliErrorCode =
  | 'USAGE'
  | 'CHILD_FAILED'
  | 'NODE_UNREACHABLE'
  | 'PULL_FAILED'
  | 'SCRUB_DAMAGED'
  | 'SCRUB_FAILED'
  | 'VERIFY_DAMAGED'
  | 'BACKUP_INCOMPLETE'

/** Errors of the commands. */
export class CliError extends ShoalError<CliErrorCode> {}
