import type { Socket } from 'node:net'
import type { PeerCertificate, TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'

/** That a client showed a certificate, or did not. */
export interface Authentication {
  /** `address:port` of the client. */
  readonly address: string
  /** Who it is. */
  readonly actor?: string | undefined
  /** Why it was refused. */
  readonly code?: string
}

const MAX_NAME = 256
/** Names of connections: a certificate is parsed anew each time that it is asked for. */
const names = new WeakMap<object, { readonly name: string | undefined }>()

/** Who a client is by its certificate; undefined when it has none that was checked. */
export function clientOf({ raw }: FastifyRequest): string | undefined {
  // Over HTTP/2 the socket is one of a request's own.
  const session = (raw as { stream?: { session?: { socket: Socket } } }).stream?.session
  const connection = session ?? raw.socket
  const known = names.get(connection)
  if (known !== undefined) return known.name
  const name = nameOfClient((session?.socket ?? raw.socket) as Partial<TLSSocket>)
  names.set(connection, { name })
  return name
}

/** Who is at the other end of a connection. */
export function nameOfClient(socket: Partial<TLSSocket>): string | undefined {
  if (socket.authorized !== true) return undefined
  const certificate = socket.getPeerCertificate?.()
  return certificate && nameIn(certificate)
}

/** The common name; without one the first URI, such as a SPIFFE id, or DNS name, else the fingerprint. */
function nameIn({ subject, subjectaltname, fingerprint256 }: Partial<PeerCertificate>): string | undefined {
  const [, other] = /(?:^|, )(?:URI|DNS|email):([^,]+)/.exec(subjectaltname ?? '') ?? []
  const common: unknown = subject?.CN
  const name = (typeof common === 'string' && common) || other || fingerprint256
  return name?.slice(0, MAX_NAME)
}
