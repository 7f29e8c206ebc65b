import type { RegistryEvent, Requester } from '../events.ts'
import type { Authentication } from '../http/client-certificate.ts'

/** A request that was not carried out. */
export interface Refusal {
  readonly request: Requester
  /** Without its query. */
  readonly path: string
  readonly status: number
  /** The OCI error code that the client got. */
  readonly code: string
}

const ACTIONS: Readonly<Record<string, string>> = { GET: 'pull', HEAD: 'pull', DELETE: 'delete' }
const MAX_PATH = 1024

/** The line of something that was done. */
export function doneLine({ atMs, action, request, ...what }: RegistryEvent): string {
  return line(atMs, { action, outcome: 'done', ...what }, request)
}

/** The line of something that was not done; undefined where nothing was found, which clients ask all the time. */
export function refusedLine({ request, path, status, code }: Refusal, atMs: number): string | undefined {
  if (status === 404) return undefined
  const outcome = status < 500 ? 'refused' : 'failed'
  const action = ACTIONS[request.method] ?? 'push'
  return line(atMs, { action, outcome, path: path.slice(0, MAX_PATH), status, code }, request)
}

/** The line of a client that showed, or should have shown, a certificate. */
export function authenticateLine({ address, actor, code }: Authentication, atMs: number): string {
  const outcome = code === undefined ? { outcome: 'done' } : { outcome: 'refused', code }
  return jsonLine(atMs, { action: 'authenticate', ...outcome, actor: actor ?? null, address })
}

/** Who has a certificate has a name; the registry knows no accounts. */
function line(atMs: number, what: object, { id, actor, address, method, userAgent }: Requester): string {
  return jsonLine(atMs, { ...what, actor: actor ?? null, address, requestId: id, method, userAgent })
}

function jsonLine(atMs: number, what: object): string {
  return `${JSON.stringify({ time: new Date(atMs).toISOString(), ...what })}\n`
}
