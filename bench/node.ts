/**
 * What a node costs end to end: it receives a blob from a holder, verifies pieces and blob, stores it and serves it to a
 * local client while it arrives; with `--neighbours N`, N others take each piece from it once among them, as a swarm does.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseHostPort } from '@shoal/core'
import type { LaneParent } from '@shoal/peer'
import { request } from 'undici'
import { blobUrl, pushBlob } from './kit/blobs.ts'
import { read } from './kit/client.ts'
import { readCommandLine } from './kit/command-line.ts'
import { type Door, startPeer, startRegistry, startScheduler } from './kit/network.ts'
import { median, print, spread } from './kit/report.ts'
import { startProcess } from './kit/talk.ts'
import { warmMemory } from './kit/warm-memory.ts'
import type { NeighboursPlan, SharedBlob } from './node/neighbours.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const {
  json,
  rounds,
  size: sizeMib,
  neighbours: neighbourCount,
} = readCommandLine(
  'bench:node',
  'Measures what a node costs that receives a blob, verifies it, stores it and serves it while it arrives.',
  {
    rounds: { what: 'rounds that are measured; medians are printed', fallback: 5, least: 1, most: 1000 },
    size: { what: 'MiB of the blob', fallback: 1024, least: 1, most: 65_536 },
    neighbours: { what: 'that take its pieces from it, each its share of them', fallback: 0, least: 0, most: 256 },
  },
)

async function metric(door: Door, name: string): Promise<number> {
  // A kept connection may be closed by its server while a round runs.
  const { body } = await request(`${door.adminUrl}/metrics`, { reset: true })
  const line = (await body.text()).split('\n').find((text) => text.startsWith(`${name} `))
  return Number(line?.split(' ')[1] ?? Number.NaN)
}

/** Where the lane of a node is. */
async function laneOf(node: Door): Promise<LaneParent> {
  const { body } = await request(`${node.adminUrl}/api/v1/node`)
  const { peerId, addresses } = (await body.json()) as { peerId: string; addresses: { lane: string } }
  const { host, port } = parseHostPort(addresses.lane) ?? {}
  if (host === undefined || port === undefined) throw new Error(`no lane is at ${addresses.lane}`)
  return { peerId, host, port }
}

/** Starts the process of nodes that take from `parent`. */
async function startNeighbours(folder: string, count: number, parent: LaneParent) {
  const plan: NeighboursPlan = { folder, neighbours: count, parent }
  const { process: others } = await startProcess(new URL('./node/neighbours.ts', import.meta.url), plan)
  return {
    /** Resolves when each piece was taken once. */
    async take({ digest, sizeBytes }: SharedBlob): Promise<void> {
      const taken = await others.ask({ digest, sizeBytes } satisfies SharedBlob)
      if (taken !== sizeBytes) throw new Error(`the neighbours took ${taken} of ${sizeBytes} bytes`)
    },
    end: () => others.end(),
  }
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
const running: Door[] = []
let neighbours: Awaited<ReturnType<typeof startNeighbours>> | undefined
const started = async (starting: Promise<Door>): Promise<Door> => {
  const door = await starting
  running.push(door)
  return door
}
try {
  const registry = await started(startRegistry(folder))
  const scheduler = await started(startScheduler(folder))
  const peer = (name: string) => started(startPeer(folder, name, registry.url, scheduler.url))
  const holder = await peer('holder')
  const node = await peer('node')
  if (neighbourCount > 0) neighbours = await startNeighbours(folder, neighbourCount, await laneOf(node))
  const idleRssBytes = (await node.process.memory()).rssBytes

  const buffer = Buffer.alloc(256 * 1024)
  const cpuSecondsPerGib: number[] = []
  const holderCpuSecondsPerGib: number[] = []
  const mibps: number[] = []
  const eventLoopP99Ms: number[] = []
  // Round 0 warms up what runs: connections, compiled code, buffers.
  for (let round = 0; round <= rounds; round++) {
    const blob = await pushBlob(registry.url, 'bench/node', round, sizeMib)
    await read(blobUrl(holder.url, blob), buffer)
    warmMemory(folder, sizeMib * 2)
    await metric(node, 'nodejs_eventloop_lag_p99_seconds')
    const before = await Promise.all([node, holder].map((door) => door.process.cpuSeconds()))
    const [own] = await Promise.all([read(blobUrl(node.url, blob), buffer), neighbours?.take(blob)])
    if (own.bytes !== blob.sizeBytes) throw new Error(`the node sent ${own.bytes} of ${blob.sizeBytes} bytes`)
    const after = await Promise.all([node, holder].map((door) => door.process.cpuSeconds()))
    if (round === 0) continue
    const gib = blob.sizeBytes / GIB
    cpuSecondsPerGib.push(((after[0] ?? 0) - (before[0] ?? 0)) / gib)
    holderCpuSecondsPerGib.push(((after[1] ?? 0) - (before[1] ?? 0)) / gib)
    mibps.push(sizeMib / (own.totalMs / 1000))
    eventLoopP99Ms.push((await metric(node, 'nodejs_eventloop_lag_p99_seconds')) * 1000)
  }
  const { peakRssBytes } = await node.process.memory()
  print(
    json,
    {
      cpuSecondsPerGiB: median(cpuSecondsPerGib),
      holderCpuSecondsPerGiB: median(holderCpuSecondsPerGib),
      miBps: median(mibps),
      peakRssBytes,
      idleRssBytes,
      eventLoopP99Ms: median(eventLoopP99Ms),
      rounds,
      sizeMib,
      neighbours: neighbourCount,
    },
    [
      `a node pulls ${sizeMib} MiB and serves it to a client, ${neighbourCount} neighbours beside it; ${rounds} rounds, median (min – max)`,
      `node    CPU s/GiB  ${spread(cpuSecondsPerGib, 2)}   MiB/s ${spread(mibps, 0)}`,
      `holder  CPU s/GiB  ${spread(holderCpuSecondsPerGib, 2)}`,
      `RSS, MiB  idle ${(idleRssBytes / MIB).toFixed(0)}   peak ${(peakRssBytes / MIB).toFixed(0)}`,
      `event loop p99, ms  ${spread(eventLoopP99Ms, 1)}`,
    ],
  )
} finally {
  await neighbours?.end()
  await Promise.all(running.reverse().map((door) => door.process.stop()))
  await rm(folder, { recursive: true })
}
