import { CoreError, systemErrorCode, withDeadline } from '@shoal/core'
import { parseRetryAfter } from './backoff.ts'
import { ENVELOPE_TYPE } from './envelope.ts'
import type { EndpointOptions } from './options.ts'

/** What became of one attempt. A reason holds nothing of the URL or the headers: they may be secret. */
export type Attempt = (
  | { readonly isDelivered: true }
  | { readonly isDelivered: false; readonly reason: string; readonly retryAfterMs: number }
) & {
  /** Undefined when there was no answer. */
  readonly status?: number
}

/** Where one endpoint's events are posted to. */
export class Target {
  readonly #url: URL
  readonly #headers: Headers
  readonly #timeoutMs: number

  /** Throws CoreError `CONFIG_INVALID`, without what may be secret. */
  constructor(name: string, { url, headers = {}, timeoutMs }: EndpointOptions) {
    const invalid = (key: string, why: string) =>
      new CoreError('CONFIG_INVALID', `notifications.endpoints.${name}.${key}: ${why}`)
    const parsed = URL.parse(url)
    if (parsed === null || !/^https?:$/.test(parsed.protocol)) throw invalid('url', 'it must be an http or https URL')
    const { username, password } = parsed
    parsed.username = ''
    parsed.password = ''
    this.#url = parsed
    try {
      this.#headers = new Headers(headers)
      if (username !== '' || password !== '') {
        const credentials = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`
        this.#headers.set('authorization', `Basic ${Buffer.from(credentials).toString('base64')}`)
      }
    } catch {
      throw invalid('headers', 'a header, or what the URL has before its @, can not be sent: check its characters')
    }
    this.#headers.set('content-type', ENVELOPE_TYPE)
    this.#timeoutMs = timeoutMs
  }

  /** Posts a body. A redirect is a failure: what the headers hold is for the configured address alone. */
  async post(body: string, signal: AbortSignal): Promise<Attempt> {
    try {
      const response = await fetch(this.#url, {
        method: 'POST',
        headers: this.#headers,
        body,
        redirect: 'manual',
        signal: withDeadline(this.#timeoutMs, signal),
      })
      await response.body?.cancel()
      const { status } = response
      if (response.ok) return { isDelivered: true, status }
      const retryAfterMs = parseRetryAfter(response.headers.get('retry-after'), Date.now())
      return { isDelivered: false, reason: `it answered ${status}`, retryAfterMs, status }
    } catch (error) {
      const isLate = error instanceof Error && error.name === 'TimeoutError'
      const reason = isLate ? `no answer in ${this.#timeoutMs} ms` : (systemErrorCode(error) ?? 'the connection broke')
      return { isDelivered: false, reason, retryAfterMs: 0 }
    }
  }
}
