import { SchedulerError } from '../errors.ts'

/** What went wrong, for the node's log; closes its stream with INVALID_ARGUMENT. */
export function violation(message: string): SchedulerError {
  return new SchedulerError('PROTOCOL_VIOLATION', message)
}
