import { randomUUID } from 'node:crypto'
import type { RegistryEvent } from '../events.ts'

/** Source: Distribution's `notifications/event.go`. */
export const ENVELOPE_TYPE = 'application/vnd.docker.distribution.events.v2+json'

/** Which registry an event comes from. */
export interface EventSource {
  /** `host:port`. */
  readonly addr: string
  /** One for each start of the process. */
  readonly instanceID: string
}

/** An event as Distribution sends it; the order of the keys is its too. Source: `notifications/event.go`. */
export interface DistributionEvent {
  readonly id: string
  /** RFC 3339. */
  readonly timestamp: string
  readonly action: string
  readonly target: Readonly<Record<string, string | number>>
  readonly request: Readonly<Record<string, string>>
  readonly actor: Readonly<Record<string, string>>
  readonly source: EventSource
}

/** Distribution leaves out what is empty. */
export function distributionEvent(event: RegistryEvent, source: EventSource): DistributionEvent {
  const { action, kind, repository, digest, tag, mediaType, sizeBytes, fromRepository, request } = event
  // A deleted thing has no address any more.
  const isThere = action !== 'delete' && digest !== undefined && request.baseUrl !== undefined
  return {
    id: randomUUID(),
    timestamp: new Date(event.atMs).toISOString(),
    action,
    target: {
      ...(mediaType === undefined ? {} : { mediaType }),
      ...(sizeBytes ? { size: sizeBytes } : {}),
      ...(digest === undefined ? {} : { digest }),
      ...(sizeBytes ? { length: sizeBytes } : {}),
      repository,
      ...(fromRepository === undefined ? {} : { fromRepository }),
      ...(isThere ? { url: `${request.baseUrl}/v2/${repository}/${kind}s/${digest}` } : {}),
      ...(tag === undefined ? {} : { tag }),
    },
    request: {
      id: request.id,
      addr: request.address,
      ...(request.host === '' ? {} : { host: request.host }),
      method: request.method,
      ...(request.userAgent === '' ? {} : { useragent: request.userAgent }),
    },
    actor: request.actor === undefined ? {} : { name: request.actor },
    source,
  }
}

/** The body that carries one event, with the indent and the escapes of Go's encoder. */
export function envelopeOf(event: DistributionEvent): string {
  const escaped = (char: string) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`
  return JSON.stringify({ events: [event] }, null, 3).replace(/[<>&\u2028\u2029]/g, escaped)
}
