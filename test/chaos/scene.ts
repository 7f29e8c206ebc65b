import { mkdir, rm } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import {
  type Client,
  type Cluster,
  dataFolder,
  type Measured,
  type Place,
  type Places,
  type Pulled,
  pullOf,
  pushWorkload,
  run,
  type Service,
  sentBytes,
  startClient,
  startCluster,
  type Workload,
} from '@shoal/bench'
import { Clocks } from './clocks.ts'
import { heal } from './cuts.ts'
import { Gate } from './gate.ts'
import { untilHeld } from './moments.ts'
import type { Row, Struck } from './row.ts'
import type { Runtimes } from './runtimes.ts'

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
  /** The pulls by the numbers of their peers; none before they have begun. */
  readonly pulls: ReadonlyMap<number, Promise<Pulled>>
  /** Of a row that has one. */
  readonly gate: Gate | undefined
  /** Of a row that has them. */
  readonly clocks: Clocks | undefined
  /** Pushes a new blob of so many bytes. */
  readonly push: (sizeBytes: number) => Promise<Workload>
  /** Pulls through a peer, one at a time: the blob again, unless told what. */
  readonly pull: (node: number, what?: Workload) => Promise<Pulled>
  /** Does something when the run is over, however it ends. */
  readonly atEnd: (cleanup: () => Promise<void>) => void
}

/** What a run of a row showed. */
export interface Run {
  /** Pulls that had to end well and did not. */
  readonly failed: number
  /** In all pulls, also those that were expected to break. */
  readonly wrongBytes: number
  /** Of the pulls whose time counts. */
  readonly totalMs: readonly number[]
  /** Bytes that the origin sent, counted on its link, over those that it has. */
  readonly originCopies: number
  /** Why pulls failed, and what their nodes wrote. */
  readonly complaints: readonly string[]
}

/**
 * Runs a row once, with a new cluster in `folder`, of which nothing is left.
 * @param runtimes pull the blob too, as the layer of an image
 */
export async function runOnce(
  row: Row,
  places: Places,
  folder: string,
  blobBytes: number,
  runtimes?: Runtimes,
): Promise<Run> {
  const started: Measured[] = []
  const clients: Client[] = []
  const cleanups: (() => Promise<void>)[] = [heal]
  const { schedulers: schedulerCount = 1 } = row
  const [smallest = places.seed] = places.nodes
  try {
    await mkdir(dataFolder(folder, smallest), { recursive: true })
    if (row.diskBytes !== undefined) {
      await run('mount', ['-t', 'tmpfs', '-o', `size=${row.diskBytes}`, 'tmpfs', dataFolder(folder, smallest)])
    }
    const used = { ...places, schedulers: places.schedulers.slice(0, Math.max(1, schedulerCount)) }
    const clocks = row.hasOwnClocks ? await Clocks.make(folder) : undefined
    const cluster = await startCluster(used, folder, started, {
      isWithoutSchedulers: schedulerCount === 0,
      ...(row.nodeOptions === undefined ? {} : { nodeOptions: row.nodeOptions }),
      ...(clocks === undefined ? {} : { launcher: (place: Place) => clocks.launcher(place) }),
      ...(row.gate === undefined ? {} : { originUrl: Gate.urlAt(places.registry) }),
    })
    const gate = row.gate === undefined ? undefined : await Gate.start(places.registry, row.gate, started)
    clients.push(...(await Promise.all(places.nodes.map((place) => startClient(place)))))
    const stage = {
      cluster,
      gate,
      clocks,
      folder,
      atEnd: (cleanup: () => Promise<void>) => void cleanups.push(cleanup),
    }
    return await strikeAndJudge(row, stage, clients, blobBytes, runtimes)
  } finally {
    for (const cleanup of cleanups.reverse()) await cleanup()
    for (const client of clients) client.stop()
    await Promise.all(started.map((service) => service.stop('SIGKILL')))
    if (row.diskBytes !== undefined) await run('umount', ['--lazy', dataFolder(folder, smallest)])
    await rm(folder, { recursive: true, force: true, maxRetries: 5 })
  }
}

async function strikeAndJudge(
  row: Row,
  stage: Pick<Scene, 'cluster' | 'gate' | 'clocks' | 'folder' | 'atEnd'>,
  clients: readonly Client[],
  blobBytes: number,
  runtimes: Runtimes | undefined,
): Promise<Run> {
  const { cluster } = stage
  const { registry } = cluster
  const registryUrl = `http://${registry.place.host}:${registry.place.ports[0]}`
  const pushedBytes: number[] = []
  const push = (sizeBytes: number) =>
    pushWorkload(registryUrl, pushedBytes.push(sizeBytes), [sizeBytes], false, runtimes?.layerStart(sizeBytes))
  const workload = await push(blobBytes)
  const digest = workload.blobs[0]?.digest ?? ''
  const isOver = new AbortController()
  const before: Scene = {
    ...stage,
    digest,
    first: cluster.nodes[0] as Service,
    pulls: new Map(),
    untilHeld: (services, share) => untilHeld(services, digest, share, isOver.signal),
    push,
    pull: (node, what = workload) => pullBy(clients[node] as Client, pullOf(what, cluster.nodes[node]?.url ?? '', 0)),
  }
  await row.prepare?.(before)
  const image = await runtimes?.push(workload)
  const sentBefore = (await sentBytes(registry.place)).all
  const pulling = [...cluster.nodes.keys()].filter((node) => row.waiting?.includes(node) !== true)
  const pulls = new Map(pulling.map((node) => [node, before.pull(node)]))
  const ofRuntimes = image === undefined ? [] : runtimes?.pull(image)
  stage.atEnd(async () => void (await ofRuntimes))
  void Promise.all(pulls.values()).then(() => isOver.abort())
  const struck = await row.strike({ ...before, pulls })
  const run = await judge(pulls, struck, cluster)
  const complaints = (await ofRuntimes) ?? []
  await struck.check?.()
  const originBytes = (await sentBytes(registry.place)).all - sentBefore
  return {
    ...run,
    failed: run.failed + complaints.length,
    complaints: [...complaints, ...run.complaints],
    originCopies: originBytes / pushedBytes.reduce((sum, bytes) => sum + bytes, 0),
  }
}

/** Waits for all pulls. */
async function judge(
  pulls: ReadonlyMap<number, Promise<Pulled>>,
  { broken = [], late = [], more = [], afterOthers = () => {} }: Struck,
  cluster: Cluster,
): Promise<Omit<Run, 'originCopies'>> {
  const pullsOf = (isWanted: (node: number) => boolean) =>
    [...pulls].filter(([node]) => isWanted(node)).map(([, pull]) => pull)
  const timed = await Promise.all(pullsOf((node) => !broken.includes(node) && !late.includes(node)))
  const others = await Promise.all([...more, ...pullsOf((node) => broken.includes(node))])
  afterOthers()
  const lateOnes = await Promise.all(pullsOf((node) => late.includes(node)))
  const judged = [...timed, ...others.slice(0, more.length), ...lateOnes]
  const failed = judged.reduce((sum, one) => sum + one.failed, 0)
  return {
    failed,
    wrongBytes: [...timed, ...others, ...lateOnes].reduce((sum, one) => sum + one.wrongBytes, 0),
    totalMs: timed.map(({ totalMs }) => totalMs),
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
