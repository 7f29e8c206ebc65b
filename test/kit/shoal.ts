import { KitError } from './errors.ts'
import { launch } from './process.ts'
import { livingAmong } from './process-table.ts'
import { SHOAL_PROGRAM } from './program.ts'
import type { TestBed } from './test-bed.ts'

/** A process of ours. */
interface ShoalService {
  readonly pid: number
  /** Path of its config file. */
  readonly config: string
}

/** A peer or a seed. */
export interface ShoalNode extends ShoalService {
  readonly name: string
  readonly mirrorUrl: string
  /** `host:port` of its lane. */
  readonly lane: string
  /** Multiaddress. */
  readonly libp2p: string
  readonly adminUrl: string
}

/** A scheduler. */
export interface ShoalScheduler extends ShoalService {
  readonly name: string
  /** `host:port`. */
  readonly grpc: string
  readonly adminUrl: string
}

/** What `shoal up --json` says when everything runs. */
export interface ShoalUp {
  readonly registry: ShoalService & { readonly url: string; readonly metricsUrl: string }
  readonly schedulers: readonly ShoalScheduler[]
  readonly seeds: readonly ShoalNode[]
  readonly peers: readonly ShoalNode[]
}

/** A running `shoal up`. */
export interface Shoal extends ShoalUp {
  /** The first of the schedulers. */
  readonly scheduler: ShoalScheduler
  /** What its processes have written, bounded: for messages of failing tests. */
  output(): string
  /** Ends it as Ctrl-C does. Throws KitError `LEFT_BEHIND` unless it exits with 0 and no process remains. */
  stop(): Promise<void>
}

/** How `shoal up` is started. */
interface ShoalOptions {
  readonly nodes: number
  /** Folder for its data, to start anew on what an earlier run left; a new one unless told. */
  readonly dataFolder?: string
  /** More arguments. */
  readonly args?: readonly string[]
  /** Options of its parts, as environment variables. */
  readonly env?: Readonly<Record<string, string>>
}

/**
 * Starts `shoal up` and waits until everything runs. It uses fixed ports, so one runs at a time: stop one before the
 * next.
 */
export async function startShoal(bed: TestBed, options: ShoalOptions): Promise<Shoal> {
  const dataFolder = options.dataFolder ?? (await bed.folder('shoal'))
  const args = ['up', '--json', '--data', dataFolder, '--nodes', String(options.nodes), ...(options.args ?? [])]
  const { env = {} } = options
  const program = await launch('shoal up', process.execPath, [SHOAL_PROGRAM, ...args], { env })
  let stopped: Promise<void> | undefined
  let services: readonly number[] = []
  const stopOnce = async () => {
    const exit = await program.stopAlone('SIGINT', 30_000)
    const left = new Set([...(await program.leftBehind()), ...(await livingAmong(services))])
    await program.stop()
    if (exit.code !== 0 || left.size > 0) {
      const how = `ended with ${exit.signal ?? `code ${exit.code}`} and left processes [${[...left].join(', ')}]`
      throw new KitError('LEFT_BEHIND', `shoal up ${how}; it wrote:\n${program.output.excerpt()}`)
    }
  }
  const stop = () => {
    stopped ??= stopOnce()
    return stopped
  }
  bed.use({ stop })
  const [line] = await program.waitForLine(/^\{.*\}$/, { stream: 'stdout' })
  const up = parseShoalUp(line)
  services = [up.registry, ...up.schedulers, ...up.seeds, ...up.peers].map((service) => service.pid)
  return { ...up, scheduler: up.schedulers[0] as ShoalScheduler, output: () => program.output.text(), stop }
}

/** Reads the line that `shoal up --json` prints. Throws KitError `UNEXPECTED_ANSWER` that names what is missing. */
export function parseShoalUp(line: string): ShoalUp {
  const up = JSON.parse(line) as Record<string, unknown>
  demand(up.registry, 'registry', ['url', 'metricsUrl', 'config'])
  const node = ['name', 'mirrorUrl', 'lane', 'libp2p', 'adminUrl', 'config']
  const kinds = { schedulers: ['name', 'grpc', 'adminUrl', 'config'], seeds: node, peers: node }
  for (const [kind, texts] of Object.entries(kinds)) {
    const members = up[kind]
    if (!Array.isArray(members)) throw new KitError('UNEXPECTED_ANSWER', `shoal up printed no ${kind}: ${line}`)
    for (const member of members) demand(member, kind, texts)
  }
  return up as unknown as ShoalUp
}

function demand(part: unknown, what: string, texts: readonly string[]): void {
  const fields = (typeof part === 'object' && part !== null ? part : {}) as Record<string, unknown>
  const wrong =
    texts.find((name) => typeof fields[name] !== 'string') ?? (Number.isInteger(fields.pid) ? undefined : 'pid')
  if (wrong !== undefined) {
    throw new KitError('UNEXPECTED_ANSWER', `shoal up printed no ${what}.${wrong}: ${JSON.stringify(part)}`)
  }
}
