import { randomUUID } from 'node:crypto'
import type { FastifyRequest } from 'fastify'
import { baseUrlOf, callerOf } from './http/caller.ts'
import { clientOf } from './http/client-certificate.ts'
import type { Exchange } from './routes/exchange.ts'

/** What can happen to content. Names as in Distribution's notifications. */
type Action = 'pull' | 'push' | 'mount' | 'delete'

/**
 * Something that was done to a blob or a manifest of a repository. A pull is one answer that went out to its end, be it of a
 * part of a blob; HEAD and 304 are none.
 */
export interface Happening {
  readonly action: Action
  readonly kind: 'blob' | 'manifest'
  readonly repository: string
  /** Undefined when a tag was deleted. */
  readonly digest?: string
  /** The tag that a manifest was pushed, pulled or deleted by. */
  readonly tag?: string
  /** Undefined for what was deleted. */
  readonly mediaType?: string
  /** Bytes of the whole content; undefined for what was deleted. */
  readonly sizeBytes?: number
  /** Where a blob was mounted from. */
  readonly fromRepository?: string
}

/** The request that something was done by. All that the client chose is bounded by the HTTP server's header limit. */
export interface Requester {
  readonly id: string
  /** Who it is by its certificate; undefined when clients need none. */
  readonly actor?: string
  /** `address:port` of the connection, or the address that a trusted proxy names. */
  readonly address: string
  /** The `Host` that the client asked for, by its own word or a trusted proxy's; empty when it named none. */
  readonly host: string
  /** Where the client reached this registry, like `https://registry.corp`; undefined when it named no usable host. */
  readonly baseUrl?: string
  readonly method: string
  readonly userAgent: string
}

export interface RegistryEvent extends Happening {
  /** Milliseconds since 1970. */
  readonly atMs: number
  readonly request: Requester
}

/** Takes an event in; when the promise resolves it is as durable as the listener promises. Must not reject. */
export type EventListener = (event: RegistryEvent) => Promise<void>

/** Told by the routes of what they have done, once it is done; tells those who listen. */
export class Events {
  readonly #listeners: readonly EventListener[]

  constructor(listeners: readonly EventListener[]) {
    this.#listeners = listeners
  }

  /** Resolves when all listeners have taken the event in. */
  async tell({ request }: Exchange, happening: Happening): Promise<void> {
    if (this.#listeners.length > 0) await this.#tellAll(happening, requesterOf(request))
  }

  /** As `tell`, of what the registry has done by itself. @param by what of it; takes the place of a user agent */
  async tellOwn(by: string, happening: Happening): Promise<void> {
    await this.#tellAll(happening, { id: randomUUID(), address: '', host: '', method: '', userAgent: by })
  }

  async #tellAll(happening: Happening, request: Requester): Promise<void> {
    const event: RegistryEvent = { ...happening, atMs: Date.now(), request }
    await Promise.all(this.#listeners.map((listen) => listen(event)))
  }
}

export function requesterOf(request: FastifyRequest): Requester {
  const actor = clientOf(request)
  const baseUrl = baseUrlOf(request)
  return {
    id: request.id,
    ...(actor === undefined ? {} : { actor }),
    address: callerOf(request),
    host: request.host,
    ...(baseUrl === undefined ? {} : { baseUrl }),
    method: request.method,
    userAgent: request.headers['user-agent'] ?? '',
  }
}
