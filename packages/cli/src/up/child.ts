import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream } from 'node:fs'
import { pause } from '@shoal/core'
import { request } from 'undici'
import { CliError } from '../errors.ts'
import type { Member } from './layout.ts'

const POLL_MS = 50
const READY_DEADLINE_MS = 60_000
const STOP_DEADLINE_MS = 20_000
const KEPT_OUTPUT = 4096

/** glibc would keep a heap for each thread, some 5 MiB a node. */
const SMALL_HEAP = { MALLOC_ARENA_MAX: '1' }

/** How a child process ended. */
export interface ChildEnd {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

/** What a part is started with. */
export interface ChildSetting {
  readonly environment: Readonly<Record<string, string | undefined>>
  /** The program. */
  readonly program: string
  readonly configFile: string
  readonly logFile: string
}

/** One process of the network, its output in a log file. */
export class Child {
  readonly member: Member
  readonly configFile: string
  readonly logFile: string
  /** Resolves when the process has ended. */
  readonly ended: Promise<ChildEnd>
  readonly #process: ChildProcess
  #lastOutput = ''
  #end: ChildEnd | undefined

  constructor(member: Member, setting: ChildSetting) {
    const { program, configFile, logFile, environment } = setting
    this.member = member
    this.configFile = configFile
    this.logFile = logFile
    // A process group of its own: Ctrl-C at the terminal reaches only us, and we stop the parts in order. The channel
    // tells the part when we die without a chance to do so.
    this.#process = spawn(process.execPath, [program, member.service, '--config', configFile], {
      stdio: ['ignore', 'ignore', 'pipe', 'ipc'],
      env: { ...SMALL_HEAP, ...environment },
      detached: true,
    })
    const log = createWriteStream(logFile, { flags: 'a' })
    this.#process.stderr?.on('data', (chunk: Buffer) => {
      log.write(chunk)
      this.#lastOutput = (this.#lastOutput + chunk.toString('utf8')).slice(-KEPT_OUTPUT)
    })
    this.ended = once(this.#process, 'close').then(([code, signal]) => {
      log.end()
      this.#end = { code: code as number | null, signal: signal as NodeJS.Signals | null }
      return this.#end
    })
  }

  get pid(): number {
    return this.#process.pid ?? 0
  }

  get hasEnded(): boolean {
    return this.#end !== undefined
  }

  /** Resolves when `path` of its admin server answers what `isReady` accepts; throws CliError when it ends first. */
  async untilReady(path: string, isReady: (body: unknown) => boolean, signal: AbortSignal): Promise<void> {
    const deadline = Date.now() + READY_DEADLINE_MS
    while (Date.now() < deadline && !signal.aborted) {
      if (this.hasEnded) throw this.#failed('could not start')
      if (await this.#answers(path, isReady)) return
      await pause(POLL_MS, signal)
    }
    if (!signal.aborted) throw this.#failed(`was not ready after ${READY_DEADLINE_MS / 1000} seconds`)
  }

  /** Ends it: SIGTERM, and SIGKILL when that does not help in time. */
  async stop(): Promise<void> {
    if (this.hasEnded) return
    this.#process.kill('SIGTERM')
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), STOP_DEADLINE_MS)
    await this.ended
    clearTimeout(timer)
  }

  /** Whether this very process answers: what already listened there before it is not meant. */
  async #answers(path: string, isReady: (body: unknown) => boolean): Promise<boolean> {
    const health = (await getJson(`${this.member.adminUrl}/healthz`)) as { pid?: unknown } | undefined
    if (health?.pid !== this.pid) return false
    const body = await getJson(this.member.adminUrl + path)
    return body !== undefined && isReady(body)
  }

  #failed(what: string): CliError {
    const line = this.#lastOutput
      .trim()
      .split('\n')
      .findLast((text) => text.startsWith('shoal: '))
    const why = line?.slice('shoal: '.length) ?? `its log is ${this.logFile}`
    return new CliError('CHILD_FAILED', `${this.member.name} ${what}: ${why}`)
  }
}

/** JSON of a 200 answer; undefined for any other answer, or none. */
async function getJson(url: string): Promise<unknown> {
  try {
    const { statusCode, body } = await request(url, { headersTimeout: 2000, bodyTimeout: 2000 })
    const json = await body.json()
    return statusCode === 200 ? json : undefined
  } catch {
    return undefined
  }
}
