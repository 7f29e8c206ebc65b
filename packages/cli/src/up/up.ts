import { mkdir } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import type { Writable } from 'node:stream'
import { prepareDataFolder, writeFileAtomic } from '@shoal/core'
import { stringify } from 'yaml'
import { invocation, shellQuote } from '../invocation.ts'
import { untilToldToStop } from '../signals.ts'
import { Child } from './child.ts'
import { type Environments, environmentsOf } from './environment.ts'
import { instructions, writeCertsD } from './instructions.ts'
import { type Counts, doorsOf, grpcOf, HOST, layOut, type Member, type Ports } from './layout.ts'
import { checkPorts } from './ports.ts'

/** Flags of `shoal up`. */
export interface UpOptions extends Counts, Ports {
  /** The file of the program that runs the parts, and their environment. */
  readonly program: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly data: string
  readonly json: boolean
  readonly logLevel: string
}

/**
 * Runs a whole network on this machine, one process a part, until a signal. A part that ends on its own is not
 * started again: what the others do without it is theirs to show. Throws CliError when a part does not start.
 */
export async function up(options: UpOptions, output: { stdout: Writable; stderr: Writable }): Promise<void> {
  const stopping = new AbortController()
  const stopped = untilToldToStop().then((signal) => stopping.abort(signal))
  const folder = resolve(options.data)
  const members = layOut(folder, options, options.logLevel)
  const environments = await environmentsOf(members, options.environment)
  await checkPorts(members)
  await prepareDataFolder(folder)
  const { schedulers, seeds, nodes } = options
  output.stderr.write(`starting a registry, ${schedulers} scheduler(s), ${seeds} seed(s) and ${nodes} peer(s) …\n`)
  const children = await spawnAll(folder, members, { program: options.program, environments })
  try {
    await untilAllReady(children, stopping.signal)
    if (!stopping.signal.aborted) {
      const shoal = invocation(options.program, options.environment)
      const summary = await describe(folder, children, { shoal, registry: `${HOST}:${options.registryPort}` })
      output.stdout.write(options.json ? `${JSON.stringify(summary.json)}\n` : summary.text)
      watch(children, shoal, stopping.signal, output.stderr)
    }
    await Promise.race([stopped, Promise.all(children.map((child) => child.ended))])
  } finally {
    stopping.abort()
    // In reverse of the start: nodes first, so that none sees its registry or scheduler go.
    const first = children.filter(({ member }) => member.service === 'peer' || member.service === 'seed')
    await Promise.all(first.map((child) => child.stop()))
    await Promise.all(children.map((child) => child.stop()))
  }
}

async function spawnAll(
  folder: string,
  members: readonly Member[],
  how: { readonly program: string; readonly environments: Environments },
): Promise<Child[]> {
  await mkdir(join(folder, 'config'), { recursive: true })
  await mkdir(join(folder, 'log'), { recursive: true })
  const fileOf = ({ name }: Member) => join(folder, 'config', `${name}.yaml`)
  for (const member of members) await writeFileAtomic(fileOf(member), stringify(member.options))
  return members.map((member) => {
    const logFile = join(folder, 'log', `${member.name}.log`)
    const environment = how.environments[member.service]
    return new Child(member, { program: how.program, environment, configFile: fileOf(member), logFile })
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
  const { schedulers } = node as { schedulers?: readonly { isConnected: unknown }[] }
  return schedulers?.every((scheduler) => scheduler.isConnected === true) === true
}

async function describe(
  folder: string,
  children: readonly Child[],
  { shoal, registry: name }: { readonly shoal: string; readonly registry: string },
) {
  const those = (service: Member['service']) => children.filter(({ member }) => member.service === service)
  const process_ = ({ pid, configFile: config, logFile: log }: Child) => ({ pid, config, log })
  const scheduler = (child: Child) => ({
    name: child.member.name,
    grpc: grpcOf(child.member),
    adminUrl: child.member.adminUrl,
    ...process_(child),
  })
  const node = (child: Child) => ({ name: child.member.name, ...doorsOf(child.member), ...process_(child) })
  const [registry] = those('registry').map((child) => ({
    url: `http://${name}`,
    metricsUrl: child.member.adminUrl,
    ...process_(child),
  }))
  const json = {
    data: folder,
    registry,
    schedulers: those('scheduler').map(scheduler),
    seeds: those('seed').map(node),
    peers: those('peer').map(node),
  }
  const certsDs = await Promise.all(json.peers.map((peer) => writeCertsD(folder, peer.name, name, peer.mirrorUrl)))
  const nodes = [...json.seeds, ...json.peers]
  const rows = [
    `registry     ${registry?.url}   metrics ${registry?.metricsUrl}/metrics`,
    ...json.schedulers.map((s) => `${s.name.padEnd(11)}  gRPC ${s.grpc}   admin ${s.adminUrl}/api/v1/nodes`),
    ...nodes.map(
      (n) => `${n.name.padEnd(11)}  mirror ${n.mirrorUrl}   lane ${n.lane}   libp2p ${n.libp2p}   admin ${n.adminUrl}`,
    ),
  ]
  const [peer] = json.peers
  const how = peer === undefined ? '' : instructions({ registry: name, peer, certsD: certsDs[0] ?? '', shoal })
  const text = `Shoal is up; data, configs and logs are in ${folder}\n\n${rows.join('\n')}\n${how}\nCtrl-C stops it.\n`
  return { json, text }
}

/** Says when a part ends by itself, and how to start it again. */
function watch(children: readonly Child[], shoal: string, signal: AbortSignal, stderr: Writable): void {
  for (const child of children) {
    void child.ended.then(({ code, signal: by }) => {
      if (signal.aborted) return
      const how = by === null ? `with code ${code}` : `by ${by}`
      const command = `${shoal} ${child.member.service} --config ${shellQuote(child.configFile)}`
      stderr.write(`${child.member.name} ended ${how}; the network goes on. To start it again: ${command}\n`)
    })
  }
}
