import type { Writable } from 'node:stream'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { CliError } from './errors.ts'
import { mebibytes } from './pull/progress.ts'

const DEADLINE_MS = 5000
const REFRESH_MS = 250

/** What a node says of its scrub; see the node's `GET /api/v1/scrub`. */
interface ScrubStatus {
  readonly state: 'never' | 'running' | 'done' | 'failed'
  readonly blobs: number
  readonly checked: number
  readonly checkedBytes: number
  readonly damaged: number
  readonly adopted: number
  readonly removed: number
  readonly unreadable: number
}

/**
 * Has a node check its blobs against their digests, or follows the scrub that runs there. Throws CliError
 * `SCRUB_DAMAGED` when some were damaged, `SCRUB_FAILED` when not all could be checked, `NODE_UNREACHABLE`.
 */
export async function scrubNode(options: { node: string }, { stdout }: { stdout: Writable }): Promise<void> {
  const url = `${options.node}/api/v1/scrub`
  if (!(await begin(url))) stdout.write('a scrub is running there already; following it\n')
  const status = await follow(url, stdout)
  const { damaged, adopted, removed, unreadable } = status
  stdout.write(
    `${progressOf(status)}\n${damaged} damaged and discarded, ${adopted} found that the index did not know, ${removed} useless files deleted\n`,
  )
  if (damaged > 0) {
    throw new CliError('SCRUB_DAMAGED', `${damaged} blobs were damaged: they will be fetched again; check the disk`)
  }
  if (status.state !== 'done' || unreadable > 0) {
    throw new CliError('SCRUB_FAILED', 'not all files could be checked: the log of the node says why')
  }
}

async function begin(url: string): Promise<boolean> {
  const { statusCode } = await ask(url, 'POST')
  if (statusCode === 202 || statusCode === 409) return statusCode === 202
  throw new CliError('NODE_UNREACHABLE', `${url} answers ${statusCode}: name a node's admin address with --node`)
}

async function follow(url: string, stdout: Writable): Promise<ScrubStatus> {
  let shown = ''
  for (;;) {
    const { statusCode, body } = await ask(url, 'GET')
    if (statusCode !== 200) throw new CliError('NODE_UNREACHABLE', `${url} answers ${statusCode}`)
    const status = body as ScrubStatus
    if (status.state !== 'running') return status
    const line = progressOf(status)
    if (line !== shown) stdout.write(`${line}\n`)
    shown = line
    await delay(REFRESH_MS)
  }
}

function progressOf({ blobs, checked, checkedBytes, damaged }: ScrubStatus): string {
  return `checked ${checked} of ${Math.max(blobs, checked)} blobs, ${mebibytes(checkedBytes)}, ${damaged} damaged`
}

async function ask(url: string, method: 'GET' | 'POST'): Promise<{ statusCode: number; body: unknown }> {
  try {
    const { statusCode, body } = await request(url, {
      method,
      headersTimeout: DEADLINE_MS,
      bodyTimeout: DEADLINE_MS,
    })
    return { statusCode, body: await body.json() }
  } catch (cause) {
    throw new CliError('NODE_UNREACHABLE', `no node answers at ${url}: start one, or name another with --node`, {
      cause,
    })
  }
}
