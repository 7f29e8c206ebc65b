/**
 * What every error of ours has: a `code` from the throwing package's union, typed `data`,
 * and a message that says what happened, to what, and what to do.
 */
export abstract class ShoalError<Code extends string = string> extends Error {
  readonly code: Code
  readonly data: Readonly<Record<string, unknown>>

  constructor(code: Code, message: string, options: { cause?: unknown; data?: Record<string, unknown> } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause })
    this.name = new.target.name
    this.code = code
    this.data = options.data ?? {}
  }
}

export type CoreErrorCode =
  | 'CONFIG_INVALID'
  | 'CONFIG_UNREADABLE'
  | 'PORT_IN_USE'
  | 'LISTEN_FAILED'
  | 'DATA_FOLDER_UNUSABLE'
  | 'IDENTITY_INVALID'
  | 'DIGEST_INVALID'
  | 'NAME_INVALID'
  | 'REFERENCE_INVALID'
  | 'MANIFEST_INVALID'
  | 'EVENTS_INVALID'

/** Errors of `@shoal/core`. */
export class CoreError extends ShoalError<CoreErrorCode> {}

/** The system error code (`ENOSPC`, `EADDRINUSE`, …) of an error or of its causes; undefined if there is none. */
export function systemErrorCode(error: unknown): string | undefined {
  for (let e: unknown = error; e instanceof Error; e = e.cause) {
    const code = (e as NodeJS.ErrnoException).code
    if (typeof code === 'string' && /^E[A-Z0-9]+$/.test(code)) return code
  }
  return undefined
}

/** The messages of an error and its causes on one line, outermost first. */
export function errorChain(error: unknown): string {
  const parts: string[] = []
  for (let e: unknown = error; e !== undefined && parts.length < 8; e = e instanceof Error ? e.cause : undefined) {
    const text = e instanceof Error ? e.message : String(e)
    if (text !== '' && !parts.some((part) => part.includes(text))) parts.push(text)
  }
  return parts.join(': ')
}
