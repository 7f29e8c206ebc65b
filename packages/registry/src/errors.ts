import { CoreError, OCI_ERROR_STATUS, type OciErrorCode, ShoalError, systemErrorCode } from '@shoal/core'

/** What a registry error says beside its code and message. */
export interface RegistryErrorOptions {
  readonly cause?: unknown
  /** Goes to the client as the error's `detail`. */
  readonly data?: Record<string, unknown>
  /** HTTP status, when it is not the one that goes with the code. */
  readonly status?: number
  /** Headers of the reply, such as where an upload stands. */
  readonly headers?: Readonly<Record<string, string>>
}

/** Errors of `@shoal/registry`; `code` is the OCI error code that the client gets. */
export class RegistryError extends ShoalError<OciErrorCode> {
  readonly status: number
  readonly headers: Readonly<Record<string, string>>

  constructor(code: OciErrorCode, message: string, options: RegistryErrorOptions = {}) {
    super(code, message, {
      ...(options.cause === undefined ? {} : { cause: options.cause }),
      ...(options.data === undefined ? {} : { data: options.data }),
    })
    this.status = options.status ?? OCI_ERROR_STATUS[code]
    this.headers = options.headers ?? {}
  }
}

/** System errors that pass when somebody makes room, so that a client should try again. */
const PASSING: Readonly<Record<string, string>> = {
  ENOSPC: 'the registry has no space left on its disk: free some, then push again',
  EDQUOT: 'the registry has used up its disk quota: free some space, then push again',
  EMFILE: 'the registry has too many files open: try again later',
  ENFILE: 'the registry has too many files open: try again later',
}

/** The error that the client gets for `error`, whatever it is. What is not ours is named in the log alone. */
export function toRegistryError(error: unknown): RegistryError {
  if (error instanceof RegistryError) return error
  if (error instanceof CoreError && error.code in OCI_ERROR_STATUS) {
    return new RegistryError(error.code as OciErrorCode, error.message, { cause: error })
  }
  const passing = PASSING[systemErrorCode(error) ?? '']
  if (passing !== undefined) return new RegistryError('UNAVAILABLE', passing, { cause: error })
  const status = error instanceof Error ? (error as { statusCode?: unknown }).statusCode : undefined
  if (typeof status === 'number' && status >= 400 && status < 500) {
    return new RegistryError('UNSUPPORTED', `the request can not be read: ${(error as Error).message}`, {
      cause: error,
      status,
    })
  }
  return new RegistryError('UNKNOWN', "the registry failed to answer: its log says why, look for this request's id", {
    cause: error,
  })
}
