import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import type { Writable } from 'node:stream'
import { prepareDataFolder, writeFileAtomic } from '@shoal/core'
import { stringify } from 'yaml'
import { CliError } from '../errors.ts'
import { untilToldToStop } from '../signals.ts'
import { Child } from './child.ts'
import { instructions, writeCertsD } from './instructions.ts'
import { doorsOf, layOut, MAX_NODES, REGISTRY_URL, SCHEDULER_GRPC } from './layout.ts'

/** Flags of `shoal up`. */
export interface UpOptions {
  /** The file of the program that runs the parts, and their environment. */
  readonly program: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly nodes: number
  readonly seeds: number
  readonly data: string
  readonly json: boolean
  readonly logLevel: string
}

/**
 * Runs a whole network on this machine, one process a part, until a signal. A part that ends on its own is not
 * started again: what the others do without it is theirs to show. Throws CliError when a part does not start.
 */
export async function up(options: UpOptions, output: { stdout: Writable; stderr: Writable }): Promise<void> {
  if (options.nodes + options.seeds > MAX_NODES) {
    throw new CliError('USAGE', `--nodes and --seeds together can be at most ${MAX_NODES} on one machine`)
  }
  const stopping = new AbortController()
  const stopped = untilToldToStop().then((signal) => stopping.abort(signal))
  const folder = await prepareDataFolder(options.data)
  output.stderr.write(`starting a registry, a scheduler, ${options.seeds} seed(s) and ${options.nodes} peer(s) …\n`)
  const children = await spawnAll(folder, options)
  try {
    await untilAllReady(children, stopping.signal)
    if (!stopping.signal.aborted) {
      const summary = await describe(folder, children)
      output.stdout.write(options.json ? `${JSON.stringify(summary.json)}\n` : summary.text)
      watch(children, stopping.signal, output.stderr)
    }
    await Promise.race([stopped, Promise.all(children.map((child) => child.ended))])
  } finally {
    stopping.abort()
    // In reverse of the start: nodes first, so that none sees its registry or scheduler go.
    const nodes = children.filter(({ member }) => member.service === 'peer' || member.service === 'seed')
    await Promise.all(nodes.map((child) => child.stop()))
    await Promise.all(children.map((child) => child.stop()))
  }
}

async function spawnAll(folder: string, options: UpOptions): Promise<Child[]> {
  await mkdir(join(folder, 'config'), { recursive: true })
  await mkdir(join(folder, 'log'), { recursive: true })
  const members = layOut(folder, options.nodes, options.seeds, options.logLevel)
  const files = members.map(({ name }) => join(folder, 'config', `${name}.yaml`))
  for (const [i, member] of members.entries()) {
    await writeFileAtomic(files[i] as string, stringify(member.options))
  }
  return members.map((member, i) => {
    const logFile = join(folder, 'log', `${member.name}.log`)
    const { program, environment } = options
    return new Child(member, { program, environment, configFile: files[i] as string, logFile })
  })
}

async function untilAllReady(children: readonly Child[], signal: AbortSignal): Promise<void> {
  const giveUp = new AbortController()
  const either = AbortSignal.any([signal, giveUp.signal])
  try {
    await Promise.all(
      children.map((child) =>
        child.member.service === 'peer' || child.member.service === 'seed'
          ? child.untilReady('/api/v1/node', isConnected, either)
          : child.untilReady('/readyz', () => true, either),
      ),
    )
  } finally {
    giveUp.abort()
  }
}

function isConnected(node: unknown): boolean {
  return (node as { scheduler?: { isConnected?: unknown } }).scheduler?.isConnected === true
}

async function describe(folder: string, children: readonly Child[]) {
  const process_ = (service: string) => {
    const child = children.find(({ member }) => member.service === service)
    return { pid: child?.pid, config: child?.configFile, log: child?.logFile, adminUrl: child?.member.adminUrl }
  }
  const node = (child: Child) => ({
    name: child.member.name,
    ...doorsOf(child.member),
    pid: child.pid,
    config: child.configFile,
    log: child.logFile,
  })
  const { adminUrl: metricsUrl, ...registry } = process_('registry')
  const json = {
    data: folder,
    registry: { url: REGISTRY_URL, metricsUrl, ...registry },
    scheduler: { grpc: SCHEDULER_GRPC, ...process_('scheduler') },
    seeds: children.filter(({ member }) => member.service === 'seed').map(node),
    peers: children.filter(({ member }) => member.service === 'peer').map(node),
  }
  const certsDs = await Promise.all(json.peers.map((peer) => writeCertsD(folder, peer.name, peer.mirrorUrl)))
  const nodes = [...json.seeds, ...json.peers]
  const rows = [
    `registry   ${json.registry.url}   metrics ${json.registry.metricsUrl}/metrics`,
    `scheduler  gRPC ${json.scheduler.grpc}   admin ${json.scheduler.adminUrl}/api/v1/nodes`,
    ...nodes.map(
      (n) => `${n.name.padEnd(9)}  mirror ${n.mirrorUrl}   lane ${n.lane}   libp2p ${n.libp2p}   admin ${n.adminUrl}`,
    ),
  ]
  const [peer] = json.peers
  const how = peer === undefined ? '' : instructions(peer, certsDs[0] ?? '')
  const text = `Shoal is up; data, configs and logs are in ${folder}\n\n${rows.join('\n')}\n${how}\nCtrl-C stops it.\n`
  return { json, text }
}

/** Says when a part ends by itself, and how to start it again. */
function watch(children: readonly Child[], signal: AbortSignal, stderr: Writable): void {
  for (const child of children) {
    void child.ended.then(({ code, signal: by }) => {
      if (signal.aborted) return
      const how = by === null ? `with code ${code}` : `by ${by}`
      stderr.write(`${child.member.name} ended ${how}; the network goes on. To start it again: ${child.command}\n`)
    })
  }
}
