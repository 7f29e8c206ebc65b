import { createHash } from 'node:crypto'
import type { Endpoint } from './endpoint.ts'
import { originError, type Subject } from './errors.ts'

/** Who a request is made as. */
export interface Credentials {
  /**
   * `basic`: can be traded for a token; `token`: forwarded, goes to the origin as it is or not at all;
   * `none`: anonymous.
   */
  readonly kind: 'basic' | 'token' | 'none'
  /** `Authorization` value; undefined when anonymous. */
  readonly authorization: string | undefined
  /** Whether the client sent it: then it is sent without waiting to be asked. */
  readonly isForwarded: boolean
  /** Tells credentials apart without holding them. */
  readonly hash: string
}

const MAX_AUTHORIZATION_LENGTH = 12_288
const AUTHORIZATION = /^[!#$%&'*+\-.^_`|~0-9A-Za-z]+ [\x20-\x7e]+$/
/** No user and no password: what clients send that were asked for credentials and have none. */
const EMPTY_BASIC = /^basic +Og==$/i
const BASIC = /^basic +([A-Za-z0-9+/]+={0,2})$/i

/** The client's credentials where it sent some, else the configured ones, else none. Throws OriginError. */
export function credentialsFor(endpoint: Endpoint, forwarded: string | undefined, subject: Subject): Credentials {
  const isEmpty = forwarded !== undefined && EMPTY_BASIC.test(forwarded)
  const authorization = (isEmpty ? undefined : forwarded) ?? endpoint.basic
  if (authorization === undefined) {
    return { kind: 'none', authorization: undefined, isForwarded: false, hash: 'none' }
  }
  if (authorization.length > MAX_AUTHORIZATION_LENGTH || !AUTHORIZATION.test(authorization)) {
    throw originError('UNAUTHORIZED', subject, 'the Authorization header is malformed: send Basic or Bearer')
  }
  return {
    kind: BASIC.test(authorization) ? 'basic' : 'token',
    authorization,
    isForwarded: forwarded !== undefined && !isEmpty,
    hash: createHash('sha256').update(authorization).digest('base64url'),
  }
}

/** The user name inside a Basic `Authorization`; undefined when there is none. */
export function basicUsername(authorization: string): string | undefined {
  const encoded = BASIC.exec(authorization)?.[1]
  if (encoded === undefined) return undefined
  const text = Buffer.from(encoded, 'base64').toString('utf8')
  const colon = text.indexOf(':')
  return colon <= 0 ? undefined : text.slice(0, colon)
}
