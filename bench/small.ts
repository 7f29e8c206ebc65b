/**
 * Many small blobs: clients pull images of small layers, each manifest and then its layers, through the mirror of a node
 * that gets them from a warm neighbour, and straight from Debian's docker-registry (Distribution), which is also the
 * nodes' origin. Side by side, in turns.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blobUrl } from './kit/blobs.ts'
import { readCommandLine } from './kit/command-line.ts'
import { KeepAliveConnection } from './kit/keep-alive.ts'
import { type Door, startPeer, startScheduler } from './kit/network.ts'
import type { Measured } from './kit/processes.ts'
import { median, print, spread } from './kit/report.ts'
import { startRival } from './kit/rival.ts'
import { layOutSmallImages, MANIFEST_TYPE, type SmallImage } from './kit/small-blobs.ts'

const WARM_UP_BLOBS = 1000

const {
  json,
  rounds,
  blobs: blobCount,
  clients: clientCount,
  profile,
} = readCommandLine(
  'bench:small',
  'Compares images of many small layers through a node, from a warm neighbour, with the same from docker-registry.',
  {
    rounds: { what: 'rounds that are measured; medians are printed', fallback: 5, least: 1, most: 1000 },
    blobs: { what: 'layers in all, 50 an image', fallback: 10_000, least: 1, most: 1_000_000 },
    clients: { what: 'that pull at once, an image each', fallback: 16, least: 1, most: 1000 },
    profile: { what: 'folder for CPU profiles of the nodes, one for each thread', kind: 'text' },
  },
)
const profiling = profile === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${profile}`]

/** Pulls every image once over `clientCount` connections, an image at a time on each; returns milliseconds per blob. */
async function pullAll(url: string, images: readonly SmallImage[]): Promise<number> {
  const connections = Array.from({ length: clientCount }, () => new KeepAliveConnection(url))
  const beganMs = performance.now()
  let next = 0
  const pullNext = async (connection: KeepAliveConnection): Promise<void> => {
    for (let image = images[next++]; image !== undefined; image = images[next++]) await pullImage(connection, image)
  }
  try {
    await Promise.all(connections.map(pullNext))
    return (performance.now() - beganMs) / images.reduce((sum, { layers }) => sum + layers.length, 0)
  } finally {
    for (const connection of connections) connection.close()
  }
}

async function pullImage(connection: KeepAliveConnection, { manifestPath, layers }: SmallImage): Promise<void> {
  const { status } = await connection.get(manifestPath, MANIFEST_TYPE)
  if (status !== 200) throw new Error(`the answer to ${manifestPath} was ${status}`)
  for (const layer of layers) {
    const { status, bytes } = await connection.get(blobUrl('', layer))
    if (status !== 200 || bytes !== layer.sizeBytes) {
      throw new Error(`the answer was ${status}, ${bytes} bytes, to ${layer.digest} of ${layer.sizeBytes}`)
    }
  }
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
const running: Measured[] = []
const started = async <T extends { readonly process: Measured }>(starting: Promise<T>): Promise<T> => {
  const part = await starting
  running.push(part.process)
  return part
}
try {
  const rival = await started(startRival(folder))
  const scheduler = await started(startScheduler(folder))
  const holder = await started(startPeer(folder, 'holder', rival.url, scheduler.url))
  const warmUp = await layOutSmallImages(rival.root, 'bench/warm', 'warm', WARM_UP_BLOBS)
  const images = await layOutSmallImages(rival.root, 'bench/small', 'small', blobCount)
  await pullAll(holder.url, [...warmUp, ...images])

  const msPerBlob = { ours: [] as number[], rival: [] as number[] }
  const cpu = { ours: [] as number[], rival: [] as number[], holder: [] as number[], scheduler: [] as number[] }
  for (let round = 0; round < rounds; round++) {
    // A node that has nothing yet, but has run a while: compiled code, connections.
    const node: Door = await started(startPeer(folder, `node-${round}`, rival.url, scheduler.url, 0, profiling))
    await pullAll(node.url, warmUp)
    await pullAll(rival.url, warmUp)
    const measured = [node.process, rival.process, holder.process, scheduler.process]
    const seconds = () => Promise.all(measured.map((part) => part.cpuSeconds()))
    const pullOurs = async () => msPerBlob.ours.push(await pullAll(node.url, images))
    const pullRival = async () => msPerBlob.rival.push(await pullAll(rival.url, images))
    // The rival is also asked by the node, as its origin: its CPU is taken from its own turn alone.
    const turn = async (pull: () => Promise<unknown>) => {
      const before = await seconds()
      await pull()
      const after = await seconds()
      return after.map((value, i) => ((value - (before[i] ?? 0)) * 1000) / blobCount)
    }
    const turns = round % 2 === 0 ? [pullOurs, pullRival] : [pullRival, pullOurs]
    for (const pull of turns) {
      const [ofNode = 0, ofRival = 0, ofHolder = 0, ofScheduler = 0] = await turn(pull)
      if (pull === pullRival) {
        cpu.rival.push(ofRival)
      } else {
        cpu.ours.push(ofNode)
        cpu.holder.push(ofHolder)
        cpu.scheduler.push(ofScheduler)
      }
    }
    // Its files stay to the end: ext4 gives out the inodes of files that were just deleted again only after minutes, and
    // looks for others so long at each new file that this would be most of what the next round measures.
    await node.process.stop()
  }
  const ratios = msPerBlob.ours.map((ms, i) => ms / (msPerBlob.rival[i] ?? Number.NaN))
  print(
    json,
    {
      oursMsPerBlob: median(msPerBlob.ours),
      rivalMsPerBlob: median(msPerBlob.rival),
      ratio: median(ratios),
      oursCpuSecondsPer1000: median(cpu.ours),
      rivalCpuSecondsPer1000: median(cpu.rival),
      holderCpuSecondsPer1000: median(cpu.holder),
      schedulerCpuSecondsPer1000: median(cpu.scheduler),
      rounds,
      blobs: blobCount,
      clients: clientCount,
    },
    [
      `${blobCount} blobs of 1 to 64 KiB, ${clientCount} clients, ${rounds} rounds, median (min – max)`,
      `ms per blob     shoal ${spread(msPerBlob.ours, 3)}   docker-registry ${spread(msPerBlob.rival, 3)}   ratio ${spread(ratios, 2)}`,
      `CPU s per 1000  shoal ${spread(cpu.ours, 2)}   docker-registry ${spread(cpu.rival, 2)}`,
      `  beside it     neighbour ${spread(cpu.holder, 2)}   scheduler ${spread(cpu.scheduler, 2)}`,
    ],
  )
} finally {
  await Promise.all(running.reverse().map((part) => part.stop()))
  await rm(folder, { recursive: true })
}
