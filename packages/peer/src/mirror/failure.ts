import { errorChain, OCI_ERROR_STATUS, type OciErrorCode, ShoalError } from '@shoal/core'
import { OriginError } from '@shoal/origin'

/** An answer that is an error, as the OCI spec wants it. */
export interface Failure {
  readonly status: number
  readonly code: OciErrorCode
  readonly message: string
  readonly headers: Readonly<Record<string, string | string[]>>
}

/** What a client asked for, for the code of "there is none". */
export type Subject = 'manifest' | 'blob' | 'repository'

const UNKNOWN_CODE: Readonly<Record<Subject, OciErrorCode>> = {
  manifest: 'MANIFEST_UNKNOWN',
  blob: 'BLOB_UNKNOWN',
  repository: 'NAME_UNKNOWN',
}

/** The answer for an error: the mirror's one table of them. What the node can not do now is 503, so a runtime goes on. */
export function failureOf(error: unknown, subject: Subject): Failure {
  const origin = originErrorIn(error)
  if (origin === undefined) {
    const message = error instanceof ShoalError ? errorChain(error) : 'the node failed; its log says why'
    return failure('UNAVAILABLE', message)
  }
  switch (origin.code) {
    case 'UNAUTHORIZED':
      return failure('UNAUTHORIZED', origin.message, { 'www-authenticate': [...origin.challenges] })
    case 'DENIED':
      return failure('DENIED', origin.message)
    case 'NOT_FOUND':
      return failure(UNKNOWN_CODE[subject], origin.message)
    case 'RATE_LIMITED':
      return failure('TOOMANYREQUESTS', origin.message, {
        'retry-after': String(Math.ceil((origin.retryAfterMs ?? 1000) / 1000)),
      })
    case 'NOT_ALLOWED':
      return failure('DENIED', origin.message)
    default:
      return failure('UNAVAILABLE', origin.message)
  }
}

export function failure(code: OciErrorCode, message: string, headers: Failure['headers'] = {}): Failure {
  return { status: OCI_ERROR_STATUS[code], code, message, headers }
}

function originErrorIn(error: unknown): OriginError | undefined {
  for (let e: unknown = error; e instanceof Error; e = e.cause) if (e instanceof OriginError) return e
  return undefined
}
