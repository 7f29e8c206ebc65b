import { createInterface } from 'node:readline/promises'
import { type Readable, Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { CliError } from '../errors.ts'

/** Where a password comes from. */
export interface PasswordSource {
  readonly stdin: Readable & { readonly isTTY?: boolean }
  readonly stderr: Writable
  /** Whether all of standard input is the password. */
  readonly isStdin: boolean
}

/** Reads a password from standard input, or asks for it at the terminal without showing it. Throws CliError `USAGE`. */
export async function readPassword(username: string, source: PasswordSource): Promise<string> {
  const { stdin, stderr, isStdin } = source
  if (isStdin) return (await text(stdin)).replace(/\r?\n$/, '')
  if (stdin.isTTY !== true) {
    throw new CliError('USAGE', 'there is no terminal to ask for the password at: pipe it in with --password-stdin')
  }
  // What readline echoes goes nowhere; the terminal itself does not echo while readline reads it.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const terminal = createInterface({ input: stdin, output: nowhere, terminal: true })
  const left = new AbortController()
  for (const event of ['SIGINT', 'close'] as const) terminal.once(event, () => left.abort())
  stderr.write(`Password of ${username}: `)
  try {
    return await terminal.question('', { signal: left.signal })
  } catch (cause) {
    throw new CliError('USAGE', 'no password was given', { cause })
  } finally {
    terminal.close()
    stderr.write('\n')
  }
}
