import { randomUUID } from 'node:crypto'
import type { Socket } from 'node:net'
import type { Server as TlsServer } from 'node:tls'
import { errorChain, type Logger, listen, ociErrorBody, type Startable } from '@shoal/core'
import { createHttpServer } from '@shoal/core/service'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Refusal } from './audit/line.ts'
import { RegistryError, toRegistryError } from './errors.ts'
import { requesterOf } from './events.ts'
import type { Guard } from './guards/guard.ts'
import type { RateLimit } from './guards/rate-limit.ts'
import { addressOf, baseUrlOf } from './http/caller.ts'
import type { Certificate } from './http/certificate.ts'
import { type Authentication, nameOfClient } from './http/client-certificate.ts'
import { Connections } from './http/connections.ts'
import { Networks } from './http/networks.ts'
import type { RegistryMetrics } from './metrics.ts'
import type { Exchange, Handler, Handlers, Method, RouteTable } from './routes/exchange.ts'
import { parsePath, type Route, type RouteKind } from './routes/path.ts'

interface RegistryServerDependencies {
  readonly routes: RouteTable
  /** Says what a request is about when its path alone does not. */
  readonly locate?: ((exchange: Exchange, route: Route) => Promise<Route>) | undefined
  /** Asked in turn before a request is looked at. */
  readonly guards: readonly Guard[]
  readonly rateLimit: RateLimit
  /** Plain HTTP when undefined. */
  readonly tls?: ServerTls | undefined
  readonly metrics: RegistryMetrics
  readonly log: Logger
  /** Does the work of a request in a trace. */
  readonly trace?: (<T>(traced: TracedRequest, work: () => Promise<T>) => Promise<T>) | undefined
  /** Told of each request, once its answer is out. */
  readonly logAccess?: ((access: Access) => void) | undefined
  /** Told of each request that was answered with an error. */
  readonly refused?: (refusal: Refusal) => void
  /** Told of each client that had to show a certificate. */
  readonly authenticated?: (authentication: Authentication) => void
}

/** A request that was answered, for the log. */
interface Access {
  readonly id: string
  readonly method: string
  /** Without its query. */
  readonly path: string
  readonly status: number
  /** Bytes that the answer's head promised. */
  readonly sizeBytes: number
  /** Whether the client left, or was left, before the answer's end. */
  readonly isCutOff: boolean
  readonly durationMs: number
  readonly address: string
  readonly userAgent: string
}

/** A request that is traced, and the kind of its path as metrics have it. */
interface TracedRequest {
  readonly request: FastifyRequest
  readonly reply: FastifyReply
  readonly handler: string
}

/** Where a server listens, and what it believes and tells of how clients reach it. */
interface ServerOptions {
  readonly host: string
  readonly port: number
  readonly trustedProxies: readonly string[]
  readonly relativeUrls: boolean
}

/** How a server speaks TLS. */
interface ServerTls {
  readonly certificate: Certificate
  /** Whether clients that want HTTP/2 get it. */
  readonly http2: boolean
}

const METHODS: Method[] = ['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']
/** Kinds of path as Distribution's metrics call them. */
const HANDLERS: Readonly<Record<RouteKind | 'none', string>> = {
  base: 'base',
  catalog: 'catalog',
  blob: 'blob',
  uploads: 'blob-upload',
  upload: 'blob-upload-chunk',
  manifest: 'manifest',
  tags: 'tags',
  referrers: 'referrers',
  none: 'none',
}
/** Characters of what a client chose that go into the log. */
const MAX_LOGGED = 512
/** How long requests may go on after `stop`. */
const DRAIN_MS = 10_000

/** The registry's HTTP server: finds what a request is about, hands it to its handler, and turns errors into OCI's. */
export class RegistryServer implements Startable {
  readonly #options: ServerOptions
  readonly #dependencies: RegistryServerDependencies
  readonly #server: FastifyInstance
  readonly #connections: Connections
  readonly #active = new Set<Promise<unknown>>()
  #port = 0

  /** Throws CoreError `CONFIG_INVALID`. */
  constructor(options: ServerOptions, dependencies: RegistryServerDependencies) {
    const { tls } = dependencies
    this.#options = options
    this.#dependencies = dependencies
    const proxies = new Networks(options.trustedProxies, 'trustedProxies')
    this.#server = createHttpServer({
      tls: tls && {
        ...tls.certificate.context,
        mustKnowClient: tls.certificate.context.ca !== undefined,
        http2: tls.http2,
      },
      // A connection that is closed already has no address any more.
      trustProxy: options.trustedProxies.length > 0 && ((address?: string) => proxies.has(address ?? '')),
      exposeHeadRoutes: false,
      // Events and audit lines outlive the process, so its own count would not tell requests apart.
      genReqId: () => randomUUID(),
      routerOptions: { maxParamLength: 4096 },
      // What fastify can not route: a path that does not decode.
      frameworkErrors: (cause, request, reply) => this.#answerError(badPath(cause), request, reply),
    })
    const { server } = this.#server
    this.#connections = new Connections(server, tls !== undefined)
    if (tls?.certificate.context.ca !== undefined) this.#tellOfClients(server as unknown as TlsServer)
    tls?.certificate.onChange((context, haveRootsChanged) => {
      ;(server as unknown as TlsServer).setSecureContext(context)
      // Who was let in by a root that is gone would stay as long as the connection.
      if (haveRootsChanged) this.#connections.renew()
    })
    this.#server.removeAllContentTypeParsers()
    // Bodies are read by the handlers, as streams; whatever their type is.
    this.#server.addContentTypeParser('*', (_request, _body, done) => done(null))
    this.#server.addHook('onRequest', async (_request, reply) => void reply.headers(ALWAYS))
    if (!options.relativeUrls)
      this.#server.addHook('onSend', async (request, reply) => completeLocation(request, reply))
    this.#server.setErrorHandler((error, request, reply) => this.#answerError(error, request, reply))
    const handler = (request: FastifyRequest, reply: FastifyReply) => this.#track(this.#dispatch(request, reply))
    this.#server.register(async (server) => {
      await dependencies.rateLimit.addTo(server)
      server.route({ method: METHODS, url: '/v2/*', handler })
    })
    this.#server.setNotFoundHandler(handler)
  }

  /** The port it listens on; 0 when it does not. */
  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    if (this.#port !== 0) return
    const { host, port } = this.#options
    this.#port = await listen(this.#server, 'the registry', host, port)
  }

  /** Takes no more requests; those in flight get ten seconds, idle connections none. */
  async stop(): Promise<void> {
    if (this.#port === 0) return
    this.#port = 0
    const deadline = setTimeout(() => this.#connections.closeAll(), DRAIN_MS)
    try {
      const closed = this.#server.close()
      this.#connections.closeGently()
      await closed
      await Promise.allSettled(this.#active)
    } finally {
      clearTimeout(deadline)
    }
  }

  #tellOfClients(server: TlsServer): void {
    const { authenticated } = this.#dependencies
    // A connection that TLS has given up has no address any more, unless it was asked for before.
    const addresses = new WeakMap<object, string>()
    server.on('connection', (socket) => addresses.set(socket, addressOf(socket)))
    server.on('secureConnection', (socket) =>
      authenticated?.({ address: addressOf(socket), actor: nameOfClient(socket) }),
    )
    server.on('tlsClientError', (error: NodeJS.ErrnoException, socket) => {
      const { authorizationError, _parent: below } = socket as { authorizationError?: unknown; _parent?: Socket }
      const code = String(authorizationError ?? error.code ?? 'TLS')
      authenticated?.({ address: (below && addresses.get(below)) ?? addressOf(socket), code })
    })
  }

  async #track<T>(work: Promise<T>): Promise<T> {
    this.#active.add(work)
    try {
      return await work
    } finally {
      this.#active.delete(work)
    }
  }

  async #dispatch(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    const [path = '', ...query] = (request.raw.url ?? '').split('?')
    const measured = this.#measure(request, reply)
    for (const guard of this.#dependencies.guards) guard(request)
    const exchange: Exchange = { request, reply, query: new URLSearchParams(query.join('?')) }
    const { trace, locate } = this.#dependencies
    const named = parsePath(path)
    measured.route = named.kind
    const route = locate === undefined ? named : await locate(exchange, named)
    // The table pairs each kind of route with handlers for that kind, which TypeScript can not follow through a lookup.
    const handlers = this.#dependencies.routes[route.kind] as Handlers<RouteKind>
    const handle = handlers[request.method as Method] as Handler<RouteKind> | undefined
    if (handle === undefined) throw wrongMethod(request.method, Object.keys(handlers))
    if (trace === undefined) return handle(exchange, route)
    return trace({ request, reply, handler: HANDLERS[route.kind] }, () => handle(exchange, route))
  }

  #measure(request: FastifyRequest, reply: FastifyReply): { route: RouteKind | 'none' } {
    const { metrics } = this.#dependencies
    const measured: { route: RouteKind | 'none' } = { route: 'none' }
    const stopTimer = metrics.requestSeconds.startTimer()
    metrics.requestsInFlight.inc()
    this.#connections.began(request.raw, reply.raw)
    const { logAccess } = this.#dependencies
    const beganMs = logAccess === undefined ? 0 : performance.now()
    reply.raw.once('close', () => {
      logAccess?.(accessOf(request, reply, beganMs))
      const handler = HANDLERS[measured.route]
      const labels = { handler, method: request.method.toLowerCase() }
      metrics.requestBytes.observe({ handler }, Number(request.headers['content-length'] ?? 0))
      metrics.responseBytes.observe({ handler }, Number(reply.getHeader('content-length') ?? 0))
      metrics.requestsInFlight.dec()
      stopTimer(labels)
      metrics.requests.inc({ ...labels, code: String(reply.raw.statusCode) })
    })
    return measured
  }

  #answerError(thrown: unknown, request: FastifyRequest, reply: FastifyReply): void {
    const { log, refused } = this.#dependencies
    const error = toRegistryError(thrown)
    const [path = ''] = (request.raw.url ?? '').split('?')
    refused?.({ request: requesterOf(request), path, status: error.status, code: error.code })
    const fields = {
      id: request.id,
      method: request.method,
      url: request.raw.url?.slice(0, MAX_LOGGED),
      code: error.code,
    }
    if (error.status < 500) log.debug(fields, 'a request was refused')
    else if (reply.raw.destroyed) log.debug(fields, 'a client left before its request was done')
    else log.error({ ...fields, error: errorChain(error.cause ?? error) }, 'a request failed')
    for (const name of DESCRIBES_CONTENT) reply.removeHeader(name)
    const detail = Object.keys(error.data).length === 0 ? undefined : error.data
    const body = ociErrorBody(error.code, error.message, detail)
    void reply.code(error.status).headers(ALWAYS).headers(error.headers).type('application/json').send(body)
  }
}

function accessOf(request: FastifyRequest, reply: FastifyReply, beganMs: number): Access {
  const { id, method, address, userAgent } = requesterOf(request)
  const [path = ''] = (request.raw.url ?? '').split('?')
  return {
    id,
    method,
    path: path.slice(0, MAX_LOGGED),
    status: reply.raw.statusCode,
    sizeBytes: Number(reply.getHeader('content-length') ?? 0),
    isCutOff: !reply.raw.writableFinished,
    durationMs: Math.round((performance.now() - beganMs) * 10) / 10,
    address,
    userAgent: userAgent.slice(0, MAX_LOGGED),
  }
}

/** Makes a location on this registry one with its name. */
function completeLocation(request: FastifyRequest, reply: FastifyReply): void {
  const [location, base] = [reply.getHeader('location'), baseUrlOf(request)]
  if (typeof location === 'string' && location.startsWith('/') && base !== undefined) {
    reply.header('location', base + location)
  }
}

/** Headers that a handler may have set for the content that an error then takes the place of. */
const DESCRIBES_CONTENT = ['content-length', 'docker-content-digest', 'etag', 'cache-control', 'content-range']

/** Headers of every reply. */
const ALWAYS = { 'docker-distribution-api-version': 'registry/2.0', 'x-content-type-options': 'nosniff' }

function badPath(cause: unknown): RegistryError {
  return new RegistryError('NAME_INVALID', 'the path can not be read: check what is percent-encoded in it', { cause })
}

function wrongMethod(method: string, allowed: readonly string[]): RegistryError {
  return new RegistryError('UNSUPPORTED', `${method} is not possible here: use ${allowed.join(', ')}`, {
    headers: { allow: allowed.join(', ') },
  })
}
