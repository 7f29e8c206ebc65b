/**
 * The registry that conforms, or not: one of ours, or with `SHOAL_CONFORMANCE_URL` whichever is there. The tests of this
 * folder know nothing of it but what the specification says, and are in the order of its endpoints (end-1 to end-13).
 * Source: OCI distribution-spec 1.1.1 and its main of 2026, spec.md and conformance/; Distribution, registry/handlers.
 */
import { type DigestAlgorithm, digestOf } from '@shoal/core'
import { afterAll, beforeAll } from 'vitest'
import { type Answer, type Ask, ask, startRegistry } from '../running-registry.ts'

export type { Answer }

/** Asks the registry by path, or by the absolute or relative `Location` that it gave. */
export type AskTarget = (method: string, path: string, more?: Omit<Ask, 'method'>) => Promise<Answer>

/** Starts the registry for the tests of a file. */
export function useTarget(): AskTarget {
  let base = process.env.SHOAL_CONFORMANCE_URL ?? ''
  let stop: () => Promise<void> = async () => {}
  beforeAll(async () => {
    if (base !== '') return
    const registry = await startRegistry()
    base = registry.url
    stop = registry.dispose
  })
  afterAll(() => stop())
  return (method, path, more = {}) => ask(new URL(path, base).href, { method, ...more })
}

let names = 0
/** A repository that nobody has used. */
export function newRepository(): string {
  return `conformance/${process.pid}-${Date.now().toString(36)}/repo${names++}`
}

/** `Location` of an answer, as a path; throws when there is none. */
export function locationOf({ headers, status }: Answer): string {
  const location = headers.get('location')
  if (location === null) throw new Error(`no Location in an answer ${status}`)
  return location
}

/** A location with a query more. */
export function withQuery(location: string, name: string, value: string): string {
  return `${location}${location.includes('?') ? '&' : '?'}${name}=${encodeURIComponent(value)}`
}

/** The codes of an OCI error body; throws when it is none. */
export function codesOf({ bytes, headers }: Answer): string[] {
  if (!headers.get('content-type')?.startsWith('application/json')) throw new Error('errors are JSON')
  const { errors } = JSON.parse(bytes.toString()) as { errors: { code: string; message?: unknown }[] }
  for (const { message } of errors) if (typeof message !== 'string') throw new Error('an error has no message')
  return errors.map(({ code }) => code)
}

/** Pushes a blob as most clients do; returns its digest. */
export async function pushBlob(
  target: AskTarget,
  repository: string,
  bytes: Uint8Array,
  algorithm: DigestAlgorithm = 'sha256',
): Promise<string> {
  const digest = digestOf(bytes, algorithm)
  const started = await target('POST', `/v2/${repository}/blobs/uploads/`)
  const { status } = await target('PUT', withQuery(locationOf(started), 'digest', digest), { body: bytes })
  if (status !== 201) throw new Error(`the push of a blob was answered ${status}`)
  return digest
}
