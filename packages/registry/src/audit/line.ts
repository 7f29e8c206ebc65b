import type { RegistryEvent, Requester } from '../events.ts'

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

/** The registry knows no accounts, so nobody has a name. */
function line(atMs: number, what: object, { id, address, method, userAgent }: Requester): string {
  const who = { actor: null, address, requestId: id, method, userAgent }
  return `${JSON.stringify({ time: new Date(atMs).toISOString(), ...what, ...who })}\n`
}
