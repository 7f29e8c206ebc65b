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
import { request } from 'undici'
import { readCommandLine } from './kit/command-line.ts'
import { startScheduler } from './kit/network.ts'
import { median, print, spread } from './kit/report.ts'
import { sizeOfPieces } from './kit/size-of-pieces.ts'
import type { Answer, NodesPlan, Order } from './scheduler/talk.ts'

const MIB = 1024 * 1024

const {
  json,
  nodes,
  pieces,
  rounds,
  processes,
  tick: tickMs,
  idle: isIdle,
  connections: connectionsPerProcess,
} = readCommandLine(
  'bench:scheduler',
  'Measures what one scheduler carries over real gRPC streams, one for each simulated node.',
  {
    nodes: { what: 'simulated nodes', fallback: 1000, least: 1, most: 100_000 },
    pieces: { what: 'of each blob that all of them want', fallback: 256, least: 1, most: 65_536 },
    rounds: {
      what: 'blobs that are measured, one after the other, after one that warms up; medians are printed',
      fallback: 5,
      least: 1,
      most: 1000,
    },
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

/** What a round took. */
interface Round {
  readonly assignments: number
  readonly messages: number
  readonly seconds: number
  readonly cpuSeconds: number
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
const scheduler = await startScheduler(folder)
const groups: Nodes[] = []
try {
  for (let i = 0; i < processes; i++) {
    const first = Math.floor((nodes * i) / processes)
    const count = Math.floor((nodes * (i + 1)) / processes) - first
    groups.push(new Nodes({ scheduler: scheduler.url, first, nodes: count, connections, tickMs, pieces }))
  }
  const emptyRssBytes = (await scheduler.process.memory()).rssBytes
  /** Resolves to the messages so far. */
  const all = async (order: Order) => {
    const answers = await Promise.all(groups.map((group) => group.tell(order)))
    return answers.reduce((sum, { sent, received }) => sum + sent + received, 0)
  }
  const connectedAtMs = performance.now()
  let messages = await all('connect')
  const connectSeconds = (performance.now() - connectedAtMs) / 1000
  const idleRssBytes = (await scheduler.process.memory()).rssBytes
  const runRound = async (number: number): Promise<Round> => {
    const before = {
      messages,
      assignments: await counter(scheduler.adminUrl, 'shoal_scheduler_assignments_total'),
      cpuSeconds: await scheduler.process.cpuSeconds(),
      atMs: performance.now(),
    }
    const digest = `sha256:${createHash('sha256').update(`bench ${number}`).digest('hex')}`
    messages = await all({ digest, sizeBytes: sizeOfPieces(pieces) })
    const seconds = (performance.now() - before.atMs) / 1000
    const cpuSeconds = (await scheduler.process.cpuSeconds()) - before.cpuSeconds
    const assignments = await counter(scheduler.adminUrl, 'shoal_scheduler_assignments_total')
    return {
      assignments: assignments - before.assignments,
      messages: messages - before.messages,
      seconds,
      cpuSeconds,
    }
  }
  const measured: Round[] = []
  // Round 0 warms up what runs: compiled code, buffers.
  for (let number = 0; number <= rounds && !isIdle; number++) {
    const round = await runRound(number)
    if (number > 0) measured.push(round)
  }
  const memory = await scheduler.process.memory()
  const of = (what: (round: Round) => number) => measured.map(what)
  const perSecond = of((round) => round.assignments / round.seconds)
  const messagesPerSecond = of((round) => round.messages / round.seconds)
  const messagesPerAssignment = of((round) => round.messages / round.assignments)
  const perCpuSecond = of((round) => round.assignments / round.cpuSeconds)
  const nsCpu = of((round) => (round.cpuSeconds / round.assignments) * 1e9)
  const result = {
    nodes,
    pieces,
    rounds,
    processes,
    connections: connections * processes,
    connectSeconds,
    emptyRssBytes,
    idleRssBytes,
    schedulerRssBytes: memory.rssBytes,
    schedulerPeakRssBytes: memory.peakRssBytes,
  }
  const figures = {
    assignments: median(of((round) => round.assignments)),
    assignmentsPerSecond: median(perSecond),
    messagesPerSecond: median(messagesPerSecond),
    messagesPerAssignment: median(messagesPerAssignment),
    nsCpuPerAssignment: median(nsCpu),
    assignmentsPerCpuSecond: median(perCpuSecond),
  }
  const mib = (bytes: number) => (bytes / MIB).toFixed(0)
  const measuredLines = [
    `${rounds} rounds of ${figures.assignments} assignments, median (min – max)`,
    `a second       ${spread(perSecond, 0)} assignments   ${spread(messagesPerSecond, 0)} messages, ${figures.messagesPerAssignment.toFixed(2)} an assignment`,
    `scheduler CPU  ${spread(nsCpu, 0)} ns an assignment: ${spread(perCpuSecond, 0)} assignments a second of a core`,
  ]
  print(json, isIdle ? result : { ...result, ...figures }, [
    `${nodes} nodes on ${connections * processes} connections, there in ${connectSeconds.toFixed(1)} s; blobs of ${pieces} pieces`,
    ...(isIdle ? [] : measuredLines),
    `RSS, MiB       empty ${mib(emptyRssBytes)}   connected ${mib(idleRssBytes)}   after ${mib(memory.rssBytes)}   peak ${mib(memory.peakRssBytes)}`,
  ])
} catch (error) {
  process.stderr.write(scheduler.process.wrote)
  throw error
} finally {
  await Promise.all(groups.map((group) => group.stop()))
  await scheduler.process.stop()
  await rm(folder, { recursive: true })
}
