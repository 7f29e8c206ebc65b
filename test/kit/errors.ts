import { ShoalError } from '@shoal/core'

export type KitErrorCode =
  | 'COMMAND_FAILED'
  | 'EXITED_EARLY'
  | 'TIMED_OUT'
  | 'LEFT_BEHIND'
  | 'UNEXPECTED_ANSWER'
  | 'CONTENT_MISMATCH'
  | 'FIXTURE_INVALID'

/** Errors of the test kit. Messages carry the captured output of the program at fault: a CI log is all one has. */
export class KitError extends ShoalError<KitErrorCode> {}
