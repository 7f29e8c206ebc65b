import { ShoalError } from '@shoal/core'

export type SchedulerErrorCode =
  | 'PROTOCOL_VIOLATION'
  | 'LIMIT_EXCEEDED'
  | 'HELLO_TIMEOUT'
  | 'SLOW_READER'
  | 'REPLACED'
  | 'INTERNAL'

/** Errors of `@shoal/scheduler`. */
export class SchedulerError extends ShoalError<SchedulerErrorCode> {}
