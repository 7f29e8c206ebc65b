import { mkdir } from 'node:fs/promises'
import { request } from 'undici'
import type { Measured } from '../kit/processes.ts'
import { boundSeconds } from './bound.ts'
import { type Client, type Pulled, startClient } from './client.ts'
import { type Cluster, startCluster } from './cluster.ts'
import { startDelayLine } from './delay-line.ts'
import { checkLink, type LinkCheck } from './link-check.ts'
import { makeLinks, sentBytes } from './links.ts'
import type { SwarmOptions } from './options.ts'
import { loopbackPlaces, namespacedPlaces, type Places } from './places.ts'
import { followProgress, type Progress } from './progress.ts'
import { startRelays } from './relay.ts'
import { type Cost, costBetween, machineCpuSeconds, secondsOfAllCores, usageNow } from './usage.ts'
import { pullOf, pushWorkload, type Workload } from './workload.ts'

/** Of T*, between the first arrival and the last. */
const SPREAD = { flash: 0, staggered: 1, rolling: 4 } as const

/** One workload pulled by all. */
export interface Round {
  readonly pulled: readonly Pulled[]
  readonly cost: Cost
  /** Bytes that the origin sent, over those of the workload. */
  readonly originCopies: number
  /** Bytes that went from one zone to another, over those of the workload; null where links are not shaped. */
  readonly crossZoneCopies: number | null
  readonly progress: readonly Progress[]
}

/** The last workload, pulled again another way. */
export interface RivalRound {
  readonly pulled: readonly Pulled[]
  /** Of the relays, where there are some. */
  readonly cpuSeconds?: number
  /** Share of the machine's CPU time that was used, by whatever. */
  readonly cpuShare: number
}

/** What was measured. */
export interface Outcome {
  readonly tStarSeconds: number
  readonly rounds: readonly Round[]
  readonly rival: RivalRound | undefined
  /** Between two nodes of a zone, and of different zones; undefined where links are not shaped. */
  readonly links: { readonly sameZone: LinkCheck; readonly otherZone: LinkCheck | undefined } | undefined
  readonly peakRssBytes: number
}

/** Runs it all in `folder`. What is started ends with this process, or with `stop`, which `started` is filled for. */
export async function runSwarm(options: SwarmOptions, folder: string, started: Measured[]): Promise<Outcome> {
  await mkdir(folder, { recursive: true })
  const { nodes, zones, rateBps, latencyMs, zoneLatencyMs } = options
  const places = options.isShaped ? namespacedPlaces(nodes, zones) : await loopbackPlaces(nodes, zones)
  if (options.isShaped) {
    await makeLinks(places, { rateBps, zones })
    if (zoneLatencyMs > 0) await startDelayLine(folder, latencyMs, zoneLatencyMs)
  }
  const links = options.isShaped ? await checkLinks(places) : undefined
  const cluster = await startCluster(places, folder, started)
  const clients = await Promise.all(places.nodes.map((place) => startClient(place)))
  const registryUrl = `http://${places.registry.host}:${places.registry.ports[0]}`
  const tStarSeconds = boundSeconds(options.layers, nodes, rateBps)
  try {
    if (options.warmUpBytes > 0) {
      const warmUp = await pushWorkload(registryUrl, 0, [options.warmUpBytes], false)
      await Promise.all(clients.map((client, i) => client.pull(pullOf(warmUp, cluster.nodes[i]?.url ?? '', 0))))
    }
    const rounds: Round[] = []
    let workload: Workload | undefined
    for (let round = 1; round <= options.rounds; round++) {
      workload = await pushWorkload(registryUrl, round, options.layers, options.isImage)
      rounds.push(await runRound(workload, cluster, clients, options, tStarSeconds))
    }
    const rival = workload && (await runRival(workload, places, clients, registryUrl, folder, options))
    const memory = await Promise.all([cluster.seed, ...cluster.nodes].map((node) => node.process.memory()))
    const peakRssBytes = Math.max(...memory.map((one) => one.peakRssBytes))
    return { tStarSeconds, rounds, rival, links, peakRssBytes }
  } finally {
    for (const client of clients) client.stop()
  }
}

async function runRound(
  workload: Workload,
  cluster: Cluster,
  clients: readonly Client[],
  options: SwarmOptions,
  tStarSeconds: number,
): Promise<Round> {
  const spacingMs = (SPREAD[options.arrival] * tStarSeconds * 1000) / clients.length
  const sentBefore = await sent(cluster, options)
  const before = await usageNow(cluster)
  const following = options.plot === undefined ? undefined : followProgress(cluster, workload)
  const pulled = await pullAll(
    workload,
    clients,
    (i) => cluster.nodes[i]?.url ?? '',
    (i) => i * spacingMs,
  )
  const after = await usageNow(cluster)
  const sentAfter = await sent(cluster, options)
  const progress = (await following?.end()) ?? []
  return {
    pulled,
    cost: costBetween(before, after),
    originCopies: (sentAfter.origin - sentBefore.origin) / workload.sizeBytes,
    crossZoneCopies: options.isShaped ? (sentAfter.abroad - sentBefore.abroad) / workload.sizeBytes : null,
    progress,
  }
}

async function runRival(
  workload: Workload,
  places: Places,
  clients: readonly Client[],
  registryUrl: string,
  folder: string,
  { rival, isShaped }: SwarmOptions,
): Promise<RivalRound | undefined> {
  const [blob] = workload.blobs
  // Their ports are free in namespaces of their own only.
  if (rival === undefined || blob === undefined || (rival === 'relay' && !isShaped)) return undefined
  const sourceUrl = `${registryUrl}/v2/${blob.repository}/blobs/${blob.digest}`
  const relays = rival === 'relay' ? await startRelays(places, folder, { ...blob, sourceUrl }) : undefined
  const before = { relays: await relays?.cpuSeconds(), machine: await machineCpuSeconds(), atMs: performance.now() }
  const beginning = relays?.begin()
  const pulled = await pullAll(
    workload,
    clients,
    (i) => relays?.urlOf(i) ?? registryUrl,
    () => 0,
  )
  await beginning
  const cpuShare = ((await machineCpuSeconds()) - before.machine) / secondsOfAllCores(before.atMs)
  if (relays === undefined || before.relays === undefined) return { pulled, cpuShare }
  const cpuSeconds = (await relays.cpuSeconds()) - before.relays
  relays.stop()
  return { pulled, cpuShare, cpuSeconds }
}

function pullAll(
  workload: Workload,
  clients: readonly Client[],
  urlOf: (client: number) => string,
  afterMs: (client: number) => number,
): Promise<Pulled[]> {
  return Promise.all(clients.map((client, i) => client.pull(pullOf(workload, urlOf(i), afterMs(i)))))
}

/** Bytes that the origin and, to other zones, the nodes have sent: counted on the wire where there is one. */
async function sent(
  { registry, seed, nodes }: Cluster,
  { isShaped }: SwarmOptions,
): Promise<{ origin: number; abroad: number }> {
  if (!isShaped) {
    const { body } = await request(`${registry.adminUrl}/metrics`)
    const [, origin] = /^shoal_registry_blob_bytes_sent_total (\S+)/m.exec(await body.text()) ?? []
    return { origin: Number(origin), abroad: 0 }
  }
  const all = await Promise.all([seed, ...nodes].map((node) => sentBytes(node.place)))
  const origin = (await sentBytes(registry.place)).all
  return { origin, abroad: all.reduce((sum, { abroad }) => sum + abroad, 0) }
}

async function checkLinks({ seed, nodes }: Places): Promise<Outcome['links']> {
  const [first = seed] = nodes
  const other = nodes.find((node) => node.zone !== seed.zone)
  return {
    sameZone: await checkLink(seed, first),
    otherZone: other === undefined ? undefined : await checkLink(seed, other),
  }
}
