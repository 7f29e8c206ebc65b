import { AsyncLocalStorage } from 'node:async_hooks'
import { type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, type Tracer, trace } from '@opentelemetry/api'
import { W3CTraceContextPropagator } from '@opentelemetry/core'
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { resourceFromAttributes } from '@opentelemetry/resources'
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace'
import type { Startable } from '@shoal/core'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { requesterOf } from '../events.ts'
import type { TracingOptions } from './options.ts'

const MAX_TEXT = 512
const EXPORT_TIMEOUT_MS = 3000

/**
 * Traces of requests, by OpenTelemetry: a span for each, which goes on the client's trace when it has one, and below it one
 * for each operation of the storage. Nothing is registered for the whole process.
 */
export class Tracing implements Startable {
  readonly #provider: TracerProvider
  readonly #tracer: Tracer
  readonly #propagator = new W3CTraceContextPropagator()
  readonly #active = new AsyncLocalStorage<Context>()

  constructor({ endpoint, sampleRatio, serviceName }: TracingOptions) {
    const exporter = new OTLPTraceExporter({ url: endpoint, timeoutMillis: EXPORT_TIMEOUT_MS })
    this.#provider = new TracerProvider({
      resource: resourceFromAttributes({ 'service.name': serviceName }),
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(sampleRatio) }),
      spanProcessors: [new BatchSpanProcessor({ exporter })],
    })
    this.#tracer = this.#provider.getTracer('@shoal/registry')
  }

  async start(): Promise<void> {}

  /** Sends what has not been sent. A collector that does not answer holds it up for three seconds at most. */
  async stop(): Promise<void> {
    // What can not be sent is lost, and no reason to fail.
    await this.#provider.shutdown().catch(() => {})
  }

  /**
   * Does `work`, which answers a request, in a span that ends with the answer.
   * @param handler kind of path, as metrics have it
   */
  request<T>(
    {
      request,
      reply,
      handler,
    }: { readonly request: FastifyRequest; readonly reply: FastifyReply; readonly handler: string },
    work: () => Promise<T>,
  ): Promise<T> {
    const parent = this.#propagator.extract(ROOT_CONTEXT, request.headers, {
      keys: (headers) => Object.keys(headers),
      get: (headers, name) => headers[name],
    })
    const { address, userAgent, method, id } = requesterOf(request)
    const [path = ''] = (request.raw.url ?? '').split('?')
    const attributes = {
      'http.request.method': method,
      'url.path': path.slice(0, MAX_TEXT),
      'client.address': address,
      'user_agent.original': userAgent.slice(0, MAX_TEXT),
      'shoal.request.id': id,
    }
    const span = this.#tracer.startSpan(`${method} ${handler}`, { kind: SpanKind.SERVER, attributes }, parent)
    reply.raw.once('close', () => {
      const { statusCode, writableFinished } = reply.raw
      span.setAttribute('http.response.status_code', statusCode)
      if (statusCode >= 500 || !writableFinished) span.setStatus({ code: SpanStatusCode.ERROR })
      span.end()
    })
    return this.#active.run(trace.setSpan(parent, span), work)
  }

  /** Does `work` in a span below that of the request, if there is one. */
  async action<T>(name: string, work: () => Promise<T>): Promise<T> {
    const parent = this.#active.getStore()
    if (parent === undefined) return work()
    const span: Span = this.#tracer.startSpan(name, { kind: SpanKind.CLIENT }, parent)
    try {
      return await work()
    } catch (error) {
      // What went wrong may hold what is nobody's business: it is in the log.
      span.setStatus({ code: SpanStatusCode.ERROR })
      throw error
    } finally {
      span.end()
    }
  }
}
