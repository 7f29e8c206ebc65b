import { systemErrorCode } from '@shoal/core'
import { abortedError, OriginError, originError, type Subject } from './errors.ts'
import { ExchangeStall, ExchangeTimeout, ReceiverFault } from './exchange.ts'

const UNKNOWN = 'unknown error'
/** Of Node's HTTP parser, llhttp. */
export const PARSER_FAULT = /^HPE_/
const DECODING_FAULT = /^(Z_|ERR_BROTLI|ERR__ERROR_FORMAT|ZSTD_|ERR_ZSTD)/
/** What TLS makes of an answer in plain text. */
const PLAIN_HTTP: ReadonlySet<string> = new Set([
  'EPROTO',
  'ERR_SSL_WRONG_VERSION_NUMBER',
  'ERR_SSL_PACKET_LENGTH_TOO_LONG',
])
const CERTIFICATE_FAULT = /^(CERT_|UNABLE_TO_|DEPTH_ZERO_|SELF_SIGNED_|ERR_TLS_CERT|HOSTNAME_MISMATCH)/

/**
 * The OriginError for what a Transport rejected with; what the receiver threw, as it is.
 * @param context `proxy`: the host that the request went through, if it did; `phase`: `request` before the first byte of a wanted body, `body` after it: then nothing may be asked twice
 */
export function exchangeFailure(
  error: unknown,
  subject: Subject,
  context: { phase: 'request' | 'body'; signal: AbortSignal; isClosed: boolean; proxy?: string | undefined },
): unknown {
  if (error instanceof ReceiverFault) return error.cause
  if (context.signal.aborted || context.isClosed) return abortedError(subject, error)
  if (error instanceof OriginError) return error
  if (error instanceof ExchangeTimeout) {
    return originError('STALLED', subject, 'the origin did not answer in full before the deadline', { cause: error })
  }
  if (error instanceof ExchangeStall) {
    return originError('STALLED', subject, 'the origin sent nothing for too long', { cause: error })
  }
  const code = codeOf(error)
  if (PARSER_FAULT.test(code)) {
    // Without its cause: a parser's error holds the bytes it choked on, which may be a token.
    return originError('PROTOCOL', subject, 'the origin does not speak proper HTTP')
  }
  if (DECODING_FAULT.test(code)) {
    return originError('PROTOCOL', subject, 'the origin, or a proxy before it, sends a damaged compressed body', {
      cause: error,
    })
  }
  if (PLAIN_HTTP.has(code)) return plainHttpFailure(error, subject, code)
  if (CERTIFICATE_FAULT.test(code)) {
    return originError(
      'UNAVAILABLE',
      subject,
      `the certificate of the origin, or of a host it points to, is not trusted (${code}): give its CA as caFile in the config`,
      { cause: error, data: { isRetryable: false } },
    )
  }
  const through = context.proxy === undefined ? '' : ` through the proxy ${context.proxy}`
  if (code === 'ERR_PROXY_TUNNEL') return tunnelFailure(error, subject, through)
  const isRetryable = context.phase === 'request'
  const what = isRetryable ? 'the origin can not be reached' : 'the origin broke the connection off'
  return originError(
    'UNAVAILABLE',
    subject,
    `${what}${through} (${systemErrorCode(error) ?? code}): check its address and the network`,
    { cause: error, data: { isRetryable } },
  )
}

function plainHttpFailure(error: unknown, subject: Subject, code: string): OriginError {
  const { registry } = subject
  const isPlain = code !== 'EPROTO' || /wrong version number|packet length too long|http request/i.test(String(error))
  const message = isPlain
    ? `the origin speaks plain http, not https: if it is meant, list it under origins (proxy.upstreams in a registry): {"${registry}": {url: "http://${registry}"}}`
    : `the origin's TLS can not be spoken with (${code}): check its TLS versions and ciphers`
  return originError('UNAVAILABLE', subject, message, { cause: error, data: { isRetryable: false } })
}

/** What a proxy said that did not lead to the origin. */
function tunnelFailure(error: unknown, subject: Subject, through: string): OriginError {
  const { statusCode } = error as { readonly statusCode?: number }
  const isFinal = statusCode !== undefined && statusCode < 500
  const advice =
    statusCode === 407 || statusCode === 401
      ? 'it wants credentials: give them in the URL of HTTPS_PROXY, or as proxyCredentialsFile'
      : 'check that it allows this host and port, or list the host in NO_PROXY'
  return originError(
    'UNAVAILABLE',
    subject,
    `the origin can not be reached${through} (${statusCode ?? 'no answer'}): ${advice}`,
    {
      data: isFinal ? { isRetryable: false } : {},
    },
  )
}

/** The code of a network, TLS or HTTP error; `unknown error` where it has none. */
function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return UNKNOWN
  const { code } = error as NodeJS.ErrnoException
  if (typeof code === 'string') return code
  // Happy eyeballs wraps one error per address.
  return error instanceof AggregateError ? codeOf(error.errors[0]) : UNKNOWN
}
