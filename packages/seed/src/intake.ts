import { createHash, timingSafeEqual } from 'node:crypto'
import { errorChain, type Logger, listen, type Startable, withDeadline } from '@shoal/core'
import { createHttpServer } from '@shoal/core/service'
import type { FastifyInstance, FastifyReply } from 'fastify'
import { type PushedManifest, pushedManifests } from './events.ts'

export interface EventIntakeOptions {
  readonly host: string
  readonly port: number
  /** The registry whose content is fetched: never one that an event names. */
  readonly registry: string
  /** What has to come as bearer token; undefined for no check. */
  readonly secret: string | undefined
}

interface EventIntakeDependencies {
  /** `http://host:port` of the node's own mirror. */
  readonly mirrorUrl: () => string
  readonly log: Logger
}

const MAX_BODY_BYTES = 1024 * 1024
/** Requests that are worked on at once; a registry sends one after the other. */
const MOST_AT_ONCE = 16
const FETCH_TIMEOUT_MS = 30_000

/**
 * Takes a registry's events. A pushed manifest is asked of the node's own mirror, which fetches its blobs ahead of
 * clients. The registry has its answer once the manifest is here, so that it tries again when that fails.
 */
export class EventIntake implements Startable {
  readonly #options: EventIntakeOptions
  readonly #dependencies: EventIntakeDependencies
  readonly #server: FastifyInstance
  readonly #stopping = new AbortController()
  #running = 0
  #port = 0

  constructor(options: EventIntakeOptions, dependencies: EventIntakeDependencies) {
    this.#options = options
    this.#dependencies = dependencies
    this.#server = createHttpServer({ forceCloseConnections: true, bodyLimit: MAX_BODY_BYTES })
    this.#server.removeAllContentTypeParsers()
    this.#server.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => done(null, body))
    // Before the body is read.
    this.#server.addHook('onRequest', async ({ headers }, reply) =>
      this.#isAllowed(headers.authorization)
        ? undefined
        : reply.code(401).send({ message: 'send the shared secret as authorization: Bearer <secret>' }),
    )
    this.#server.post<{ Body: Buffer | undefined }>('/events', ({ body }, reply) =>
      this.#take(body ?? Buffer.alloc(0), reply),
    )
  }

  /** The port it listens on; 0 when it does not. */
  get port(): number {
    return this.#port
  }

  async start(): Promise<void> {
    if (this.#port !== 0) return
    const { host, port } = this.#options
    this.#port = await listen(this.#server, "the intake of a registry's events", host, port)
  }

  async stop(): Promise<void> {
    if (this.#port === 0) return
    this.#port = 0
    this.#stopping.abort()
    await this.#server.close()
  }

  #isAllowed(authorization: string | undefined): boolean {
    const { secret } = this.#options
    if (secret === undefined) return true
    // Of hashes, which are of one length: the time says nothing of the secret's.
    const hash = (text: string) => createHash('sha256').update(text).digest()
    return timingSafeEqual(hash(authorization ?? ''), hash(`Bearer ${secret}`))
  }

  async #take(body: Buffer, reply: FastifyReply): Promise<FastifyReply> {
    if (this.#running >= MOST_AT_ONCE) {
      return reply.code(503).header('retry-after', '1').send({ message: 'too many events at once: try again' })
    }
    let pushed: PushedManifest[]
    try {
      pushed = pushedManifests(body)
    } catch (error) {
      return reply.code(400).send({ message: errorChain(error) })
    }
    this.#running++
    try {
      for (const manifest of pushed) {
        if (await this.#fetch(manifest)) continue
        return reply.code(502).send({ message: `${manifest.repository}@${manifest.digest} can not be fetched yet` })
      }
      return reply.send({ manifests: pushed.length })
    } finally {
      this.#running--
    }
  }

  /** False when it is worth another attempt. */
  async #fetch({ repository, digest }: PushedManifest): Promise<boolean> {
    const { mirrorUrl, log } = this.#dependencies
    const url = new URL(`/v2/${repository}/manifests/${digest}`, mirrorUrl())
    url.searchParams.set('ns', this.#options.registry)
    try {
      const response = await fetch(url, { signal: withDeadline(FETCH_TIMEOUT_MS, this.#stopping.signal) })
      await response.arrayBuffer()
      // What is not there any more was deleted since.
      if (response.ok || response.status === 404) return true
      log.warn({ repository, digest, status: response.status }, 'a pushed manifest can not be fetched ahead')
    } catch (error) {
      log.warn({ repository, digest, error: errorChain(error) }, 'a pushed manifest can not be fetched ahead')
    }
    return false
  }
}
