import type { OciErrorCode } from '@shoal/core'
import { OriginError } from '@shoal/origin'
import { RegistryError } from '../errors.ts'

export function isNotFound(error: unknown): error is OriginError {
  return error instanceof OriginError && error.code === 'NOT_FOUND'
}

/**
 * What a client gets for what an upstream said. Credentials are the operator's business, so a client is never asked for
 * any on an upstream's behalf.
 * @param absent the code for what the upstream does not have
 */
export function upstreamError(error: unknown, absent: OciErrorCode): unknown {
  if (!(error instanceof OriginError)) return error
  const options = { cause: error }
  switch (error.code) {
    // Registries answer so too where there is nothing, or nothing for everybody, and clients take it for that.
    case 'UNAUTHORIZED':
    case 'NOT_FOUND':
      return new RegistryError(absent, error.message, options)
    case 'DENIED':
    case 'NOT_ALLOWED':
      return new RegistryError('DENIED', error.message, options)
    case 'RATE_LIMITED': {
      const seconds = String(Math.ceil((error.retryAfterMs ?? 1000) / 1000))
      return new RegistryError('TOOMANYREQUESTS', error.message, { ...options, headers: { 'retry-after': seconds } })
    }
    default:
      return new RegistryError('UNAVAILABLE', error.message, options)
  }
}
