import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { request } from 'undici'
import { stringify } from 'yaml'

const READY_DEADLINE_MS = 30_000
const POLL_MS = 50
/** Kernel clock ticks a second, as /proc counts CPU time (sysconf _SC_CLK_TCK; 100 on every Linux we know). */
const TICKS_PER_SECOND = 100

/** A program under measurement. */
export class Measured {
  readonly name: string
  readonly #child: ChildProcess
  readonly #wrote: () => string

  /** @param wrote the end of what it wrote to standard error */
  constructor(name: string, child: ChildProcess, wrote: () => string) {
    this.name = name
    this.#child = child
    this.#wrote = wrote
  }

  /** The end of what it wrote to standard error. */
  get wrote(): string {
    return this.#wrote()
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  /** User and system CPU seconds since it started. */
  async cpuSeconds(): Promise<number> {
    const stat = await readFile(`/proc/${this.pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND
  }

  /** Resident bytes: now, and the most so far. */
  async memory(): Promise<{ rssBytes: number; peakRssBytes: number }> {
    const status = await readFile(`/proc/${this.pid}/status`, 'utf8')
    const kib = (key: string) => Number(new RegExp(`${key}:\\s+(\\d+) kB`).exec(status)?.[1] ?? 0) * 1024
    return { rssBytes: kib('VmRSS'), peakRssBytes: kib('VmHWM') }
  }

  /** Sends it a signal; nothing when it has ended. */
  signal(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** Ends it, and waits until it has ended. SIGKILL ends one that is stopped, too. */
  async stop(signal: 'SIGTERM' | 'SIGKILL' = 'SIGTERM'): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const ended = once(this.#child, 'exit')
    this.#child.kill(signal)
    await ended
  }
}

const alive = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of alive) child.kill('SIGKILL')
})

/** Sees that the child does not outlive this process, if this process ends by itself. */
export function killAtExit(child: ChildProcess): void {
  alive.add(child)
  child.once('exit', () => alive.delete(child))
}

/** Starts a program and waits until `readyUrl` answers 200. Throws when it ends first, with what it wrote. */
export async function start(
  name: string,
  command: string,
  args: readonly string[],
  readyUrl: string,
): Promise<Measured> {
  // As `shoal up` starts its parts.
  const env = { MALLOC_ARENA_MAX: '1', ...process.env }
  const child = spawn(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'] })
  let wrote = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    wrote = (wrote + chunk).slice(-4000)
  })
  killAtExit(child)
  for (const deadline = Date.now() + READY_DEADLINE_MS; Date.now() < deadline; await delay(POLL_MS)) {
    if (child.exitCode !== null) throw new Error(`${name} ended with code ${child.exitCode}:\n${wrote}`)
    const status = await request(readyUrl).then(
      async ({ statusCode, body }) => {
        await body.dump()
        return statusCode
      },
      () => 0,
    )
    if (status === 200) return new Measured(name, child, () => wrote)
  }
  child.kill('SIGKILL')
  throw new Error(`${name} was not ready in ${READY_DEADLINE_MS / 1000} seconds:\n${wrote}`)
}

export type ServiceName = 'registry' | 'scheduler' | 'seed' | 'peer'

/**
 * Starts one of our services with `options` in a config file.
 * @param nodeArguments arguments of Node itself, e.g. to profile it
 */
export async function startShoal(
  folder: string,
  service: ServiceName,
  name: string,
  options: object,
  adminPort: number,
  nodeArguments: readonly string[] = [],
): Promise<Measured> {
  const args = await shoalArgs(folder, service, name, options)
  return start(name, process.execPath, [...nodeArguments, ...args], `http://127.0.0.1:${adminPort}/readyz`)
}

/** Writes the config file of a service; returns the arguments for Node that run it. */
export async function shoalArgs(
  folder: string,
  service: ServiceName,
  name: string,
  options: object,
): Promise<string[]> {
  const config = join(folder, `${name}.yaml`)
  await writeFile(config, stringify(options))
  return [join(import.meta.dirname, '../../packages/cli/dist/shoal.js'), service, '--config', config]
}
