import { mkdir, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Client,
  type Cluster,
  dataFolder,
  type Measured,
  type Places,
  type Pulled,
  pullOf,
  pushWorkload,
  run,
  type Service,
  sentBytes,
  startClient,
  startCluster,
} from '@shoal/bench'
import { heal } from './cuts.ts'
import { untilHeld } from './moments.ts'
import type { Row } from './row.ts'

/** Far beyond what any fault should cost; a pull that takes longer counts as failed. */
const PULL_DEADLINE_MS = 120_000

/** A cluster whose peers pull a blob, all at once. */
export interface Scene {
  readonly cluster: Cluster
  readonly folder: string
  /** Of the blob. */
  readonly digest: string
  /** The peer that is struck where one is. */
  readonly first: Service
  /** Waits until these together hold a share of the blob; throws when they hold all of it first. */
  readonly untilHeld: (services: readonly Service[], share: number) => Promise<void>
  /** Pulls the blob again through a peer. */
  readonly pull: (node: number) => Promise<Pulled>
}

/** What a run of a row showed. */
export interface Run {
  /** Pulls that had to end well and did not. */
  readonly failed: number
  /** In all pulls, also those that were expected to break. */
  readonly wrongBytes: number
  /** Of the pulls whose time counts. */
  readonly totalMs: readonly number[]
  /** Bytes that the origin sent, counted on its link, over those of the blob. */
  readonly originCopies: number
  /** Why pulls failed, and what their nodes wrote. */
  readonly complaints: readonly string[]
}

/** Runs a row once, with a new cluster in `folder`, of which nothing is left. */
export async function runOnce(row: Row, places: Places, folder: string, blobBytes: number): Promise<Run> {
  const started: Measured[] = []
  const clients: Client[] = []
  const { schedulers: schedulerCount = 1 } = row
  const [smallest = places.seed] = places.nodes
  try {
    await mkdir(dataFolder(folder, smallest), { recursive: true })
    if (row.diskBytes !== undefined) {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${row.diskBytes}`, 'tmpfs', dataFolder(folder, smallest)])
    }
    const used = { ...places, schedulers: places.schedulers.slice(0, Math.max(1, schedulerCount)) }
    const cluster = await startCluster(used, folder, started, {
      isWithoutSchedulers: schedulerCount === 0,
      ...(row.diskBytes === undefined ? {} : { nodeOptions: { store: { minFreeBytes: 0 } } }),
    })
    clients.push(...(await Promise.all(places.nodes.map((place) => startClient(place)))))
    return await strikeAndJudge(row, cluster, clients, folder, blobBytes)
  } finally {
    await heal()
    for (const client of clients) client.stop()
    await Promise.all(started.map((service) => service.stop('SIGKILL')))
    if (row.diskBytes !== undefined) await run('umount', ['--lazy', dataFolder(folder, smallest)])
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function strikeAndJudge(
  row: Row,
  cluster: Cluster,
  clients: readonly Client[],
  folder: string,
  blobBytes: number,
): Promise<Run> {
  const { registry } = cluster
  const registryUrl = `http://${registry.place.host}:${registry.place.ports[0]}`
  const workload = await pushWorkload(registryUrl, 1, [blobBytes], false)
  const sentBefore = (await sentBytes(registry.place)).all
  const pull = (node: number): Promise<Pulled> =>
    pullBy(clients[node] as Client, pullOf(workload, cluster.nodes[node]?.url ?? '', 0))
  const pulls = cluster.nodes.map((_, node) => pull(node))
  const isOver = new AbortController()
  void Promise.all(pulls).then(() => isOver.abort())
  const digest = workload.blobs[0]?.digest ?? ''
  const struck = await row.strike({
    cluster,
    folder,
    digest,
    first: cluster.nodes[0] as Service,
    untilHeld: (services, share) => untilHeld(services, digest, share, isOver.signal),
    pull,
  })
  const { broken = [], late = [], more = [], afterOthers = () => {} } = struck
  const isIn = (nodes: readonly number[]) => (_: unknown, node: number) => nodes.includes(node)
  const isTimed = (_: unknown, node: number) => !broken.includes(node) && !late.includes(node)
  const timed = await Promise.all(pulls.filter(isTimed))
  const others = await Promise.all([...more, ...pulls.filter(isIn(broken))])
  afterOthers()
  const lateOnes = await Promise.all(pulls.filter(isIn(late)))
  const judged = [...timed, ...others.slice(0, more.length), ...lateOnes]
  const failed = judged.reduce((sum, one) => sum + one.failed, 0)
  return {
    failed,
    wrongBytes: [...timed, ...others, ...lateOnes].reduce((sum, one) => sum + one.wrongBytes, 0),
    totalMs: timed.map(({ totalMs }) => totalMs),
    originCopies: ((await sentBytes(registry.place)).all - sentBefore) / blobBytes,
    complaints: failed === 0 ? [] : [...judged.map(({ why }) => why).filter((why) => why !== ''), ...wordsOf(cluster)],
  }
}

/** A pull that ends in time, whatever becomes of it. */
async function pullBy(client: Client, what: Parameters<Client['pull']>[0]): Promise<Pulled> {
  const seconds = PULL_DEADLINE_MS / 1000
  const lost = (why: string): Pulled => ({ failed: 1, wrongBytes: 0, totalMs: PULL_DEADLINE_MS, why })
  return await Promise.race([
    client.pull(what).catch((error) => lost(String(error))),
    delay(PULL_DEADLINE_MS, undefined, { ref: false }).then(() => lost(`a pull was not over after ${seconds} s`)),
  ])
}

/** The end of what each process wrote. */
function wordsOf({ registry, schedulers, seed, nodes }: Cluster): string[] {
  return [registry, ...schedulers, seed, ...nodes].map(({ place, process }) => `${place.name} wrote:\n${process.wrote}`)
}
