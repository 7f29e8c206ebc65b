import type { Exchange } from '../routes/exchange.ts'

const MAX_LENGTH = 1024

/** Tells a client that what it gets may be old, and why. Source: OCI distribution-spec 1.1, "Warnings". */
export function warn({ reply }: Exchange, why: string): void {
  const text = `this is what is kept here and may be old: ${why}`
  // Header values are printable ASCII, and this one is a quoted string.
  const quoted = text.replace(/[^\x20-\x7e]|["\\]/g, '?').slice(0, MAX_LENGTH)
  reply.header('warning', `299 - "${quoted}"`)
}
