import { setTimeout as wait } from 'node:timers/promises'
import { RegistryError } from '../../errors.ts'

/** Attempts of a request whose failure may pass. */
const ATTEMPTS = 4
const BACKOFF_MS = 200
/** Time in which a request must be answered; the bytes of the answer may take longer. */
const ANSWER_MS = 60_000

/** Who logs in to a Swift, and where. */
export interface SwiftLogin {
  /** `…/auth/v1.0` of Swift itself (1), or `…/v3` of Keystone (3). */
  readonly authUrl: string
  readonly authVersion: 1 | 3
  readonly username: string
  readonly password: string
  /** Keystone's names of where the user and the project are; `project` undefined: the user's default one. */
  readonly userDomain: string
  readonly project?: string | undefined
  readonly projectDomain: string
  /** Which of the endpoints in Keystone's catalog; the first when undefined. */
  readonly region?: string | undefined
}

/** A request to Swift. */
export interface SwiftRequest {
  readonly method: 'GET' | 'HEAD' | 'PUT' | 'COPY' | 'DELETE'
  /** Below the account: the container and the object, not yet encoded. */
  readonly path: string
  readonly query?: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** What can be sent but once, a stream, is tried but once. */
  readonly body?: Uint8Array | ReadableStream<Uint8Array>
  /** Statuses that are answers, beside 2xx. */
  readonly expected?: readonly number[]
}

interface Access {
  readonly token: string
  readonly storageUrl: string
}

/** Requests to a Swift, each with a token, which is got anew when it has expired. */
export class SwiftSession {
  readonly #login: SwiftLogin
  #access: Promise<Access> | undefined

  constructor(login: SwiftLogin) {
    this.#login = login
  }

  /** Throws an Error that names the request and the status, never the token. */
  async send(request: SwiftRequest): Promise<Response> {
    const attempts = request.body instanceof ReadableStream ? 1 : ATTEMPTS
    for (let attempt = 1; ; attempt++) {
      const { token, storageUrl } = await this.#accessNow()
      let failure: unknown
      try {
        const response = await this.#sendOnce(request, token, storageUrl)
        if (response.ok || request.expected?.includes(response.status)) return response
        await response.body?.cancel()
        failure = new Error(`Swift answered ${response.status} to ${request.method} ${request.path.slice(0, 256)}`)
        if (response.status === 401) this.#access = undefined
        else if (response.status < 500 && response.status !== 408 && response.status !== 429) throw failure
      } catch (error) {
        if (error === failure) throw error
        failure = error
      }
      if (attempt >= attempts) throw failure
      await wait(BACKOFF_MS * 2 ** attempt * (0.5 + Math.random() / 2))
    }
  }

  /** Of an object, or a container; nobody but the owner can use it as it is. */
  async urlOf(path: string): Promise<string> {
    const { storageUrl } = await this.#accessNow()
    return `${storageUrl}/${encodePath(path)}`
  }

  async #sendOnce(request: SwiftRequest, token: string, storageUrl: string): Promise<Response> {
    const { method, path, query, headers, body } = request
    const url = new URL(`${storageUrl}/${encodePath(path)}`)
    for (const [name, value] of Object.entries(query ?? {})) url.searchParams.set(name, value)
    const silence = new AbortController()
    // A stream takes as long as its client does; what it must not do is to get no answer after its end.
    const timer = body instanceof ReadableStream ? undefined : setTimeout(() => silence.abort(tooLate()), ANSWER_MS)
    try {
      return await fetch(url, {
        method,
        headers: { ...headers, 'x-auth-token': token },
        redirect: 'error',
        signal: silence.signal,
        ...(body === undefined ? {} : { body: body as Uint8Array<ArrayBuffer>, duplex: 'half' }),
      })
    } finally {
      clearTimeout(timer)
    }
  }

  #accessNow(): Promise<Access> {
    this.#access ??= this.#logIn().catch((error: unknown) => {
      this.#access = undefined
      throw error
    })
    return this.#access
  }

  #logIn(): Promise<Access> {
    return this.#login.authVersion === 1 ? this.#logInToSwift() : this.#logInToKeystone()
  }

  async #logInToSwift(): Promise<Access> {
    const { authUrl, username, password } = this.#login
    const response = await fetch(authUrl, {
      headers: { 'x-auth-user': username, 'x-auth-key': password },
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    await response.body?.cancel()
    return accessOf(response.status, response.headers.get('x-auth-token'), response.headers.get('x-storage-url'))
  }

  async #logInToKeystone(): Promise<Access> {
    const { authUrl, username, password, userDomain, project, projectDomain, region } = this.#login
    const user = { name: username, password, domain: { name: userDomain } }
    const scope =
      project === undefined ? {} : { scope: { project: { name: project, domain: { name: projectDomain } } } }
    const response = await fetch(`${authUrl.replace(/\/+$/, '')}/auth/tokens`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ auth: { identity: { methods: ['password'], password: { user } }, ...scope } }),
      redirect: 'error',
      signal: AbortSignal.timeout(ANSWER_MS),
    })
    const text = await response.text()
    const token = response.headers.get('x-subject-token')
    return accessOf(response.status, token, response.ok ? endpointOf(text, region) : null)
  }
}

function encodePath(path: string): string {
  return path.split('/').map(encodeURIComponent).join('/')
}

/** URL of the object store in the catalog that Keystone sends with a token; null when it has none. */
function endpointOf(text: string, region: string | undefined): string | null {
  const { token } = JSON.parse(text) as { token?: { catalog?: unknown } }
  const catalog = Array.isArray(token?.catalog) ? token.catalog : []
  for (const service of catalog as { type?: unknown; endpoints?: unknown }[]) {
    if (service.type !== 'object-store' || !Array.isArray(service.endpoints)) continue
    for (const endpoint of service.endpoints as Record<string, unknown>[]) {
      if (endpoint.interface !== 'public' || typeof endpoint.url !== 'string') continue
      if (region === undefined || endpoint.region === region) return endpoint.url
    }
  }
  return null
}

function accessOf(status: number, token: string | null, storageUrl: string | null): Access {
  if (status < 200 || status > 299) {
    throw new RegistryError('UNAVAILABLE', `the object store refuses the registry's login with ${status}: check it`)
  }
  if (token === null || storageUrl === null) {
    throw new RegistryError('UNAVAILABLE', 'the login to the object store gave no token, or no URL of the store')
  }
  return { token, storageUrl: storageUrl.replace(/\/+$/, '') }
}

function tooLate(): Error {
  return new Error(`Swift did not answer within ${ANSWER_MS / 1000} s`)
}
