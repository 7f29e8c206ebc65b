/**
 * What the wire between nodes and the scheduler carries: one scheduler, N simulated nodes that have each piece at once,
 * each with a gRPC stream of its own. Its own CPU time per assignment is the figure to trust where the nodes' processes
 * take the same cores.
 */
import { fork } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pieceSizeFor } from '@shoal/core'
import { request } from 'undici'
import { readCommandLine } from './kit/command-line.ts'
import { startScheduler } from './kit/network.ts'
import { print } from './kit/report.ts'
import type { Answer, NodesPlan, Order } from './scheduler/talk.ts'

const MIB = 1024 * 1024

const {
  json,
  nodes,
  pieces,
  processes,
  tick: tickMs,
  idle: isIdle,
  connections: connectionsPerProcess,
} = readCommandLine(
  'bench:scheduler',
  'Measures what one scheduler carries over real gRPC streams, one for each simulated node.',
  {
    nodes: { what: 'simulated nodes', fallback: 1000, least: 1, most: 100_000 },
    pieces: { what: 'of the blob that all of them want', fallback: 256, least: 1, most: 65_536 },
    processes: { what: 'that the nodes are spread over', fallback: 1, least: 1, most: 64 },
    connections: { what: 'that the nodes of a process share (one each)', least: 1, most: 100_000 },
    tick: { what: 'milliseconds between two messages of a node', fallback: 5, least: 1, most: 1000 },
    idle: { what: 'only connects', kind: 'switch' },
  },
)
const connections = Number(connectionsPerProcess ?? Math.ceil(nodes / processes))

/** A process of simulated nodes. */
class Nodes {
  readonly #child: ReturnType<typeof fork>

  constructor(plan: NodesPlan) {
    this.#child = fork(join(import.meta.dirname, 'scheduler/nodes.ts'), [JSON.stringify(plan)])
    process.once('exit', () => this.#child.kill('SIGKILL'))
  }

  /** Resolves when all its nodes did as told. */
  async tell(order: Order): Promise<Answer> {
    this.#child.send(order)
    const ended = once(this.#child, 'exit').then(() => {
      throw new Error('a process of simulated nodes ended')
    })
    const [answer] = await Promise.race([once(this.#child, 'message'), ended])
    return answer as Answer
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return
    this.#child.disconnect()
    await once(this.#child, 'exit')
  }
}

async function counter(adminUrl: string, name: string): Promise<number> {
  const { body } = await request(`${adminUrl}/metrics`)
  const line = (await body.text()).split('\n').find((text) => text.startsWith(`${name} `))
  return Number(line?.split(' ')[1] ?? Number.NaN)
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
const scheduler = await startScheduler(folder)
const groups: Nodes[] = []
try {
  const sizeBytes = pieces * pieceSizeFor(1)
  if (Math.ceil(sizeBytes / pieceSizeFor(sizeBytes)) !== pieces)
    throw new Error(`no blob has ${pieces} pieces of 256 KiB`)
  const digest = `sha256:${createHash('sha256').update('bench').digest('hex')}`
  for (let i = 0; i < processes; i++) {
    const first = Math.floor((nodes * i) / processes)
    const count = Math.floor((nodes * (i + 1)) / processes) - first
    const plan = { scheduler: scheduler.url, first, nodes: count, connections, tickMs }
    groups.push(new Nodes({ ...plan, digest, sizeBytes, pieces }))
  }
  const emptyRssBytes = (await scheduler.process.memory()).rssBytes
  const all = async (order: Order) => {
    const answers = await Promise.all(groups.map((group) => group.tell(order)))
    return answers.reduce((sum, { sent, received }) => sum + sent + received, 0)
  }
  const connectMessages = await all('connect')
  const idleRssBytes = (await scheduler.process.memory()).rssBytes
  const cpuBefore = await scheduler.process.cpuSeconds()
  const startedAt = performance.now()
  const messages = (isIdle ? connectMessages : await all('join')) - connectMessages
  const seconds = (performance.now() - startedAt) / 1000
  const cpuSeconds = (await scheduler.process.cpuSeconds()) - cpuBefore
  const assignments = await counter(scheduler.adminUrl, 'shoal_scheduler_assignments_total')
  const memory = await scheduler.process.memory()
  const result = {
    nodes,
    pieces,
    processes,
    connections: connections * processes,
    assignments,
    seconds,
    assignmentsPerSecond: assignments / seconds,
    messagesPerSecond: messages / seconds,
    messagesPerAssignment: messages / assignments,
    schedulerCpuSeconds: cpuSeconds,
    nsCpuPerAssignment: (cpuSeconds / assignments) * 1e9,
    assignmentsPerCpuSecond: assignments / cpuSeconds,
    emptyRssBytes,
    idleRssBytes,
    schedulerRssBytes: memory.rssBytes,
    schedulerPeakRssBytes: memory.peakRssBytes,
  }
  print(json, result, [
    `${nodes} nodes, ${pieces} pieces, ${connections * processes} connections: ${assignments} assignments in ${seconds.toFixed(1)} s`,
    `a second       ${result.assignmentsPerSecond.toFixed(0)} assignments   ${result.messagesPerSecond.toFixed(0)} messages (${result.messagesPerAssignment.toFixed(2)} an assignment)`,
    `scheduler CPU  ${cpuSeconds.toFixed(2)} s   ${result.nsCpuPerAssignment.toFixed(0)} ns an assignment: ${result.assignmentsPerCpuSecond.toFixed(0)} assignments a second of a core`,
    `RSS, MiB       empty ${(emptyRssBytes / MIB).toFixed(0)}   connected ${(idleRssBytes / MIB).toFixed(0)}   after ${(memory.rssBytes / MIB).toFixed(0)}   peak ${(memory.peakRssBytes / MIB).toFixed(0)}`,
  ])
} catch (error) {
  process.stderr.write(scheduler.process.wrote)
  throw error
} finally {
  await Promise.all(groups.map((group) => group.stop()))
  await scheduler.process.stop()
  await rm(folder, { recursive: true })
}
