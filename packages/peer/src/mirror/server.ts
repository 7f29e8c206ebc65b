import { answerContent, blobsOf, type Logger, listen, parseManifest, type Startable } from '@shoal/core'
import { createHttpServer } from '@shoal/core/service'
import type { OriginClient } from '@shoal/origin'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import type { Downloads } from '../download/downloads.ts'
import type { Rights } from '../rights/rights.ts'
import { Blobs } from './blobs.ts'
import { failure, failureOf, type Subject } from './failure.ts'
import { serveList } from './lists.ts'
import { type ManifestCache, Manifests, type ServedManifest } from './manifests.ts'
import type { MirrorMetrics } from './metrics.ts'
import { type MirrorTarget, parseMirrorPath } from './path.ts'
import { clientGone, hasNoBody, sendFailure, sendHead } from './reply.ts'
import type { Tags } from './tags.ts'
import { findUpstream, namespaceIn, type Upstream } from './upstream.ts'

/** Where the mirror listens and how long it waits; see options.ts. */
export interface MirrorOptions {
  readonly host: string
  readonly port: number
  readonly defaultRegistry: string
  /** Whether the ping asks for credentials. */
  readonly challenge: boolean
  readonly firstByteTimeoutMs: number
  /** Registries that the node's `origins` lists. */
  readonly listed: ReadonlySet<string>
}

/** What the mirror works with. */
export interface MirrorDependencies {
  readonly downloads: Downloads
  readonly origin: OriginClient
  readonly manifests: ManifestCache
  readonly tags: Tags
  readonly rights: Rights
  readonly metrics: MirrorMetrics
  readonly log: Logger
  readonly now: () => number
}

/** Of this host's runtimes; a further one is closed at once. */
const MAX_CONNECTIONS = 512
const MAX_AUTHORIZATION = 16 * 1024
const SUBJECTS: Readonly<Partial<Record<MirrorTarget['kind'], Subject>>> = { manifest: 'manifest', blob: 'blob' }

/** The OCI pull API for the container runtimes of this host. */
export class Mirror implements Startable {
  readonly #options: MirrorOptions
  readonly #dependencies: MirrorDependencies
  readonly #server: FastifyInstance
  readonly #manifests: Manifests
  readonly #blobs: Blobs
  #port = 0

  constructor(options: MirrorOptions, dependencies: MirrorDependencies) {
    this.#options = options
    this.#dependencies = dependencies
    this.#manifests = new Manifests({ ...dependencies, cache: dependencies.manifests })
    const { metrics } = dependencies
    this.#blobs = new Blobs(options, dependencies)
    this.#server = createHttpServer({
      forceCloseConnections: true,
      exposeHeadRoutes: false,
      routerOptions: { maxParamLength: 1024 },
    })
    this.#server.server.maxConnections = MAX_CONNECTIONS
    this.#server.addHook('onResponse', async (request, reply) => {
      const kind = parseMirrorPath(pathOf(request)).kind
      metrics.requests.inc({ kind, method: request.method, status: String(reply.statusCode) })
    })
    this.#server.route({
      method: ['GET', 'HEAD'],
      url: '/v2/*',
      handler: (request, reply) => this.#handle(request, reply),
    })
    this.#server.route({
      method: ['GET', 'HEAD'],
      url: '/v2',
      handler: (request, reply) => this.#handle(request, reply),
    })
    this.#server.setNotFoundHandler(async (request, reply) =>
      request.method === 'GET' || request.method === 'HEAD'
        ? sendFailure(reply, {
            ...failure('UNSUPPORTED', 'there is nothing at this path; a mirror answers below /v2/'),
            status: 404,
          })
        : sendFailure(reply, failure('UNSUPPORTED', 'a mirror only serves pulls: push to the registry itself')),
    )
  }

  /** The port it listens on; 0 before it is started. */
  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    if (this.#port !== 0) return
    this.#port = await listen(this.#server, 'the mirror', this.#options.host, this.#options.port)
  }

  async stop(): Promise<void> {
    if (this.#port === 0) return
    this.#port = 0
    await this.#server.close()
  }

  async #handle(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    reply.header('docker-distribution-api-version', 'registry/2.0')
    // What origins send is relayed as what they say it is, and is never for a browser to guess at.
    reply.header('x-content-type-options', 'nosniff')
    const target = parseMirrorPath(pathOf(request))
    try {
      return await this.#answer(target, request, reply)
    } catch (error) {
      const answer = failureOf(error, SUBJECTS[target.kind] ?? 'repository')
      if (reply.raw.destroyed)
        this.#dependencies.log.debug({ path: pathOf(request) }, 'a client left before its answer')
      else if (answer.status >= 500)
        this.#dependencies.log.warn({ path: pathOf(request), err: error }, 'a request failed')
      return sendFailure(reply, answer)
    }
  }

  async #answer(target: MirrorTarget, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
    if (target.kind === 'ping') return this.#ping(request, reply)
    if (target.kind === 'invalid') return sendFailure(reply, failure(target.code, target.message))
    if (target.kind === 'unknown') {
      return sendFailure(reply, { ...failure('UNSUPPORTED', 'the OCI pull API has nothing at this path'), status: 404 })
    }
    const ns = namespaceIn(request.query)
    const upstream = ns === 'several' ? undefined : findUpstream(target.repository, ns, this.#options)
    if (ns === 'several' || upstream === undefined) {
      const why = ns === 'several' ? 'is given several times' : `=${String(ns).slice(0, 100)} is not a registry`
      return sendFailure(reply, failure('NAME_INVALID', `ns ${why}: write it once, as host or host:port`))
    }
    if (ns !== undefined) reply.header('oci-namespace', ns)
    const { authorization } = request.headers
    if (authorization !== undefined && authorization.length > MAX_AUTHORIZATION) {
      return sendFailure(
        reply,
        failure('UNAUTHORIZED', `the Authorization header is longer than ${MAX_AUTHORIZATION} bytes`),
      )
    }
    if (target.kind === 'blob')
      return this.#blobs.serve({ upstream, digest: target.digest, authorization }, request, reply)
    if (target.kind === 'manifest') return this.#manifest(upstream, target.reference, request, reply)
    return serveList(this.#dependencies.origin, { target, upstream, ns }, request, reply)
  }

  /**
   * Many clients learn from the ping alone whether to send credentials. Which registry it is for it does not say, so
   * they are asked for as Basic, which the mirror gives on, or trades for a token, where the registry wants them.
   */
  #ping(request: FastifyRequest, reply: FastifyReply): FastifyReply {
    if (!this.#options.challenge || request.headers.authorization !== undefined) return reply.send({})
    const message = 'send the credentials for the registry that is mirrored, or an empty user and password'
    return sendFailure(reply, failure('UNAUTHORIZED', message, { 'www-authenticate': 'Basic realm="Shoal mirror"' }))
  }

  async #manifest(
    upstream: Upstream,
    reference: string,
    request: FastifyRequest,
    reply: FastifyReply,
  ): Promise<FastifyReply> {
    const { accept, authorization } = request.headers
    const manifest = await this.#manifests.get({
      upstream,
      reference,
      accept,
      authorization,
      signal: clientGone(reply),
    })
    const { digest, mediaType, bytes } = manifest
    const content = { digest, mediaType, sizeBytes: bytes.byteLength, hasRanges: false }
    const answer = answerContent(request, content)
    if (hasNoBody(answer)) return sendHead(reply, answer)
    this.#announce(upstream, manifest, authorization)
    return reply.code(answer.status).headers(answer.headers).send(Buffer.from(bytes))
  }

  /**
   * A manifest says which blobs come next: their downloads begin before the runtime asks. It is no proof that they are in
   * the repository, nor of how long they are: that is asked of the origin for each.
   */
  #announce(upstream: Upstream, { bytes, mediaType }: ServedManifest, authorization: string | undefined): void {
    let blobs: ReturnType<typeof blobsOf>
    try {
      blobs = blobsOf(parseManifest(bytes, mediaType))
    } catch {
      // What is not an image has nothing to announce; it is served as it is.
      return
    }
    const source = { ...upstream, ...(authorization === undefined ? {} : { authorization }) }
    const here = blobs.filter(({ size, urls }) => size > 0 && urls === undefined)
    this.#dependencies.downloads.announce(here.map(({ digest }) => ({ digest, source })))
  }
}

function pathOf(request: FastifyRequest): string {
  const path = request.url.split('?', 1)[0] ?? ''
  try {
    return decodeURIComponent(path)
  } catch {
    return path
  }
}
