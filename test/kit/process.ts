import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as delay } from 'node:timers/promises'
import { KitError } from './errors.ts'
import { OutputTail, type StreamName } from './output.ts'
import { killGroup, livingMembers } from './process-table.ts'

const POLL_MS = 50
const LAST_WORDS_MS = 500

/** How a program is started. */
export interface LaunchOptions {
  readonly cwd?: string
  /** Laid over the test's own environment; undefined removes a variable. */
  readonly env?: Readonly<Record<string, string | undefined>>
}

/** How a program ended: exactly one of the two is not null. */
export interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

// Variables of the test runner, and proxies, which must not steer the programs under test.
const NOT_INHERITED =
  /^(NODE_OPTIONS|NODE_ENV|NODE_V8_COVERAGE|VITEST.*|TEST|SHOAL_.*|CONTAINERS?_.*|DOCKER_.*|.*_proxy)$/i

const alive = new Set<number>()
process.once('exit', () => {
  for (const pid of alive) killGroup(pid, 'SIGKILL')
})

/** A running program that leads its own process group, so that it and its children can be ended together. */
export class Launched {
  readonly name: string
  readonly pid: number
  /** Resolves when the program has ended and its output has been read; never rejects. */
  readonly exited: Promise<Exit>
  readonly output = new OutputTail()
  readonly #child: ChildProcess
  #isGroupEnded = false

  constructor(name: string, child: ChildProcess, pid: number) {
    this.name = name
    this.pid = pid
    this.#child = child
    if (child.stdout !== null) this.output.read('stdout', child.stdout)
    if (child.stderr !== null) this.output.read('stderr', child.stderr)
    alive.add(pid)
    this.exited = new Promise((resolve) => {
      child.once('exit', (code, signal) => {
        alive.delete(pid)
        // Its last words come with `close`; a child of its own that holds the pipes open is not waited for.
        const timer = setTimeout(resolve, LAST_WORDS_MS, { code, signal })
        child.once('close', () => {
          clearTimeout(timer)
          resolve({ code, signal })
        })
      })
    })
  }

  /** Whether the program has not ended yet. */
  get isRunning(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null
  }

  /** Waits for a line that matches. Throws KitError `EXITED_EARLY` or `TIMED_OUT`, each with the output so far. */
  async waitForLine(
    pattern: RegExp,
    options: { timeoutMs?: number; stream?: StreamName } = {},
  ): Promise<RegExpExecArray> {
    const { timeoutMs = 60_000, stream } = options
    const found = Promise.withResolvers<RegExpExecArray>()
    const look = () => {
      const match = this.output.find(pattern, stream)
      if (match !== undefined) found.resolve(match)
    }
    const unsubscribe = this.output.onLine(look)
    const timer = setTimeout(() => found.reject(this.#timedOut(`a line like ${pattern}`, timeoutMs)), timeoutMs)
    void this.exited.then((exit) => found.reject(this.#exitedEarly(`a line like ${pattern}`, exit)))
    look()
    try {
      return await found.promise
    } finally {
      clearTimeout(timer)
      unsubscribe()
    }
  }

  /** Asks `condition` until it is true. Throws KitError `EXITED_EARLY` or `TIMED_OUT`, each with the output so far. */
  async waitUntil(what: string, condition: () => Promise<boolean>, timeoutMs = 30_000): Promise<void> {
    const deadline = Date.now() + timeoutMs
    while (!(await condition().catch(() => false))) {
      if (!this.isRunning) throw this.#exitedEarly(what, await this.exited)
      if (Date.now() > deadline) throw this.#timedOut(what, timeoutMs)
      await delay(POLL_MS)
    }
  }

  /** Asks the program to end; kills its whole group when it does not within `graceMs`. Returns how it ended. */
  async stopAlone(signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<Exit> {
    if (this.isRunning) process.kill(this.pid, signal)
    const timer = setTimeout(() => killGroup(this.pid, 'SIGKILL'), graceMs)
    const exit = await this.exited
    clearTimeout(timer)
    return exit
  }

  /** The same, and kills what is left of its group afterwards. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', graceMs = 10_000): Promise<Exit> {
    const exit = await this.stopAlone(signal, graceMs)
    // Once: later the id may be another's.
    if (!this.#isGroupEnded) killGroup(this.pid, 'SIGKILL')
    this.#isGroupEnded = true
    return exit
  }

  /** Processes of the group that still run. */
  async leftBehind(): Promise<readonly number[]> {
    return (await livingMembers(this.pid)).filter((pid) => pid !== this.pid || this.isRunning)
  }

  #timedOut(what: string, timeoutMs: number): KitError {
    const message = `${this.name}: no ${what} within ${timeoutMs} ms; it wrote:\n${this.output.excerpt()}`
    return new KitError('TIMED_OUT', message)
  }

  #exitedEarly(what: string, exit: Exit): KitError {
    const how = exit.signal ?? `code ${exit.code}`
    const message = `${this.name} ended (${how}) before ${what}; it wrote:\n${this.output.excerpt()}`
    return new KitError('EXITED_EARLY', message)
  }
}

/** Starts a long-running program. Throws KitError `COMMAND_FAILED` when there is no such program. */
export async function launch(
  name: string,
  command: string,
  args: readonly string[],
  options: LaunchOptions = {},
): Promise<Launched> {
  const child = spawnGroup(command, args, options, 'ignore')
  const failed = once(child, 'error').then(([error]) => error as Error)
  if (child.pid === undefined) {
    throw new KitError('COMMAND_FAILED', `${name}: can not start ${command}`, { cause: await failed })
  }
  return new Launched(name, child, child.pid)
}

/** What a command wrote. */
export interface CommandOutput {
  readonly stdout: string
  readonly stderr: string
}

/** How a command is run. */
export interface RunOptions extends LaunchOptions {
  /** Written to its standard input. */
  readonly input?: string
  readonly timeoutMs?: number
}

const MAX_OUTPUT_CHARACTERS = 16 * 1024 * 1024

/** Runs a command to its end. Throws KitError `COMMAND_FAILED` or `TIMED_OUT` with what it wrote. */
export async function run(command: string, args: readonly string[], options: RunOptions = {}): Promise<CommandOutput> {
  const { timeoutMs = 120_000 } = options
  const what = [command, ...args].join(' ')
  const child = spawnGroup(command, args, options, 'pipe')
  const { pid } = child
  const closed = once(child, 'close')
  if (pid !== undefined) alive.add(pid)
  const output = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (chunk: string) => {
      if (output[name].length < MAX_OUTPUT_CHARACTERS) output[name] += chunk
    })
  }
  // A command that ends without reading its input is judged by its exit code.
  child.stdin?.on('error', () => {}).end(options.input ?? '')
  let isLate = false
  const timer = setTimeout(() => {
    isLate = true
    if (pid !== undefined) killGroup(pid, 'SIGKILL')
    child.stdout?.destroy()
    child.stderr?.destroy()
  }, timeoutMs)
  try {
    const [code, signal] = await closed
    const wrote = `it wrote:\n${output.stdout.slice(-4000)}${output.stderr.slice(-4000)}`
    if (isLate) throw new KitError('TIMED_OUT', `${what}: not done within ${timeoutMs} ms; ${wrote}`)
    if (code !== 0) throw new KitError('COMMAND_FAILED', `${what}: ended with ${signal ?? `code ${code}`}; ${wrote}`)
    return output
  } catch (cause) {
    if (cause instanceof KitError) throw cause
    throw new KitError('COMMAND_FAILED', `can not start ${what}`, { cause })
  } finally {
    clearTimeout(timer)
    if (pid !== undefined) alive.delete(pid)
  }
}

function spawnGroup(command: string, args: readonly string[], options: LaunchOptions, stdin: 'ignore' | 'pipe') {
  const inherited = Object.entries(process.env).filter(([name]) => !NOT_INHERITED.test(name))
  return spawn(command, args, {
    detached: true,
    stdio: [stdin, 'pipe', 'pipe'],
    env: { ...Object.fromEntries(inherited), LC_ALL: 'C', NO_COLOR: '1', ...options.env },
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
  })
}
