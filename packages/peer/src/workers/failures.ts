import { errorChain } from '@shoal/core'
import { OriginError, type OriginErrorCode } from '@shoal/origin'
import { LaneError, type LaneErrorCode } from '../lane/errors.ts'

/** A failure on its way out of a worker thread: structured clone would lose what makes it an error of a room. */
export type TaskFailure =
  | { readonly room: 'lane'; readonly code: LaneErrorCode; readonly message: string; readonly data: object }
  | { readonly room: 'origin'; readonly code: OriginErrorCode; readonly message: string; readonly data: object }

/** The failure as data; undefined for an error that is none of the rooms'. */
export function packFailure(error: unknown): TaskFailure | undefined {
  const message = errorChain(error)
  if (error instanceof LaneError) return { room: 'lane', code: error.code, message, data: error.data }
  if (error instanceof OriginError) return { room: 'origin', code: error.code, message, data: error.data }
  return undefined
}

/** The error that was packed. */
export function unpackFailure(failure: TaskFailure): LaneError | OriginError {
  const { message, data } = failure
  return failure.room === 'lane'
    ? new LaneError(failure.code, message, { data: { ...data } })
    : new OriginError(failure.code, message, { data })
}
