/**
 * Pushes and pulls of blobs, from our registry and from Debian's docker-registry (Distribution) side by side, both on a
 * folder; and the first pages of a catalog of many repositories and of a list of tags.
 */
import { execFile } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { blobUrl } from './kit/blobs.ts'
import { read } from './kit/client.ts'
import { readCommandLine } from './kit/command-line.ts'
import { startRegistry } from './kit/network.ts'
import type { Measured } from './kit/processes.ts'
import { median, print, spread } from './kit/report.ts'
import { startRival } from './kit/rival.ts'
import { layOutTags, nameOf } from './registry/catalog.ts'
import { type Content, PushConnection } from './registry/push.ts'

const MIB = 1024 * 1024
const sync = () => promisify(execFile)('sync')
const SIZES_MIB = [1, 10, 100] as const
const CLIENT_COUNTS = [1, 16] as const
/** Moved at least in a sample, and with fewer than four blobs a client would be measured that has just begun. */
const SAMPLE_BYTES = 64 * MIB
const PAGE_READS = 50
const TAGS = 50
const CHUNK_BYTES = 1 * MIB

const {
  json,
  rounds,
  sizes: largest,
  repositories,
} = readCommandLine(
  'bench:registry',
  'Compares pushes and pulls of blobs, and lists, of our registry with the same of docker-registry.',
  {
    rounds: { what: 'rounds that are measured; medians are printed', fallback: 5, least: 1, most: 1000 },
    sizes: { what: 'MiB of the largest blobs, of 1, 10 and 100', fallback: 100, least: 1, most: 100 },
    repositories: { what: 'in the catalog, each with 50 tags', fallback: 1000, least: 1, most: 10_000 },
  },
)

const pattern = createHash('shake256', { outputLength: CHUNK_BYTES }).update('shoal bench').digest()
const buffers = Array.from({ length: 16 }, () => Buffer.alloc(256 * 1024))
let contents = 0

/** Content that was never pushed before. */
function newContent(sizeMib: number): Content {
  const start = Buffer.from(pattern)
  start.writeUInt32LE(contents++, 0)
  function* chunks(): Generator<Buffer> {
    for (let i = 0; i < sizeMib; i++) yield i === 0 ? start : pattern
  }
  const hash = createHash('sha256')
  for (const chunk of chunks()) hash.update(chunk)
  return { digest: `sha256:${hash.digest('hex')}`, sizeBytes: sizeMib * MIB, chunks }
}

interface Server {
  readonly name: 'ours' | 'rival'
  readonly process: Measured
  readonly url: string
}

interface Sample {
  readonly mibps: number
  readonly cpuSecondsPerGib: number
}

/** What `clients` at once do to the contents, each taking the next one. */
async function measure(
  { process: server }: Server,
  blobs: readonly Content[],
  clients: number,
  work: (blob: Content, client: number) => Promise<void>,
): Promise<Sample> {
  const cpuBefore = await server.cpuSeconds()
  const beganMs = performance.now()
  let next = 0
  const workOn = async (_: unknown, client: number) => {
    for (let blob = blobs[next++]; blob !== undefined; blob = blobs[next++]) await work(blob, client)
  }
  await Promise.all(Array.from({ length: clients }, workOn))
  const seconds = (performance.now() - beganMs) / 1000
  const mib = blobs.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0) / MIB
  return { mibps: mib / seconds, cpuSecondsPerGib: ((await server.cpuSeconds()) - cpuBefore) / (mib / 1024) }
}

async function push(server: Server, blobs: readonly Content[], clients: number): Promise<Sample> {
  const connections = Array.from({ length: clients }, () => new PushConnection(server.url))
  try {
    return await measure(server, blobs, clients, async (blob, client) => {
      await connections[client]?.push('bench/blobs', blob)
    })
  } finally {
    for (const connection of connections) connection.close()
  }
}

function pull(server: Server, blobs: readonly Content[], clients: number): Promise<Sample> {
  return measure(server, blobs, clients, async ({ digest, sizeBytes }, client) => {
    const url = blobUrl(server.url, { repository: 'bench/blobs', digest, sizeBytes })
    const { status, bytes } = await read(url, buffers[client] as Buffer)
    if (status !== 200 || bytes !== sizeBytes) throw new Error(`${server.name} answered ${status}, ${bytes} bytes`)
  })
}

class Cell {
  readonly op: 'push' | 'pull'
  readonly sizeMib: number
  readonly clients: number
  readonly samples: Record<Server['name'], Sample[]> = { ours: [], rival: [] }

  constructor(op: 'push' | 'pull', sizeMib: number, clients: number) {
    this.op = op
    this.sizeMib = sizeMib
    this.clients = clients
  }

  of(name: Server['name'], key: keyof Sample): number[] {
    return this.samples[name].map((sample) => sample[key])
  }

  get line(): string {
    const ratio = median(this.of('ours', 'mibps')) / median(this.of('rival', 'mibps'))
    const name = `${this.op} ${this.sizeMib} MiB, ${this.clients} client${this.clients === 1 ? '' : 's'}`
    const cpu = (server: Server['name']) => median(this.of(server, 'cpuSecondsPerGib')).toFixed(2)
    return `${name.padEnd(25)} shoal ${spread(this.of('ours', 'mibps'), 0)}   docker-registry ${spread(this.of('rival', 'mibps'), 0)}   ratio ${ratio.toFixed(2)}   CPU s/GiB ${cpu('ours')} : ${cpu('rival')}`
  }

  get result() {
    return {
      op: this.op,
      sizeBytes: this.sizeMib * MIB,
      clients: this.clients,
      oursMiBps: median(this.of('ours', 'mibps')),
      rivalMiBps: median(this.of('rival', 'mibps')),
      oursCpuSecondsPerGiB: median(this.of('ours', 'cpuSecondsPerGib')),
      rivalCpuSecondsPerGiB: median(this.of('rival', 'cpuSecondsPerGib')),
    }
  }
}

/** Milliseconds to the end of each of several reads of a page. */
async function pageMs(url: string): Promise<number[]> {
  const times: number[] = []
  for (let i = 0; i < PAGE_READS; i++) {
    const { status, totalMs } = await read(url, buffers[0] as Buffer)
    if (status !== 200) throw new Error(`${url} answered ${status}`)
    times.push(totalMs)
  }
  return times
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
const running: Measured[] = []
try {
  const rival = await startRival(folder)
  running.push(rival.process)
  const ours = await startRegistry(folder)
  running.push(ours.process)
  const servers: readonly Server[] = [
    { name: 'ours', process: ours.process, url: ours.url },
    { name: 'rival', process: rival.process, url: rival.url },
  ]

  const cells: Cell[] = []
  for (const sizeMib of SIZES_MIB.filter((size) => size <= largest)) {
    for (const clients of CLIENT_COUNTS) {
      const [pushes, pulls] = [new Cell('push', sizeMib, clients), new Cell('pull', sizeMib, clients)]
      cells.push(pushes, pulls)
      // One round more, which is not counted.
      for (let round = 0; round <= rounds; round++) {
        const count = Math.max(clients, Math.ceil(SAMPLE_BYTES / (sizeMib * MIB)))
        const blobs = Array.from({ length: count }, () => newContent(sizeMib))
        for (const server of round % 2 === 0 ? servers : [...servers].reverse()) {
          const pushed = await push(server, blobs, clients)
          // What one pushed is not to be on its way to the disk while the other is measured.
          await sync()
          const pulled = await pull(server, blobs, clients)
          if (round === 0) continue
          pushes.samples[server.name].push(pushed)
          pulls.samples[server.name].push(pulled)
        }
        // What a hundred rounds push would fill a disk.
        for (const root of [join(folder, 'registry'), rival.root]) {
          await rm(join(root, 'docker/registry/v2/blobs'), { recursive: true })
        }
      }
    }
  }
  const { peakRssBytes } = await ours.process.memory()
  const { peakRssBytes: rivalPeakRssBytes } = await rival.process.memory()

  const pages: Record<string, Record<Server['name'], number[]>> = {}
  for (const root of [join(folder, 'registry'), rival.root]) await layOutTags(root, repositories, TAGS)
  for (const [name, path] of [
    ['catalog', '/v2/_catalog?n=100'],
    ['tags', `/v2/${nameOf('app-', Math.floor(repositories / 2))}/tags/list?n=${TAGS}`],
  ] as const) {
    const [mine, theirs] = [await pageMs(ours.url + path), await pageMs(rival.url + path)]
    pages[name] = { ours: mine, rival: theirs }
  }
  const { catalog, tags } = pages as Record<'catalog' | 'tags', Record<Server['name'], number[]>>
  print(
    json,
    {
      results: cells.map(({ result }) => result),
      peakRssBytes,
      rivalPeakRssBytes,
      catalogPageMs: median(catalog.ours),
      rivalCatalogPageMs: median(catalog.rival),
      tagsPageMs: median(tags.ours),
      rivalTagsPageMs: median(tags.rival),
      rounds,
      repositories,
    },
    [
      `MiB/s, ${rounds} rounds, median (min – max)`,
      ...cells.map(({ line }) => line),
      `peak memory, MiB          shoal ${(peakRssBytes / MIB).toFixed(0)}   docker-registry ${(rivalPeakRssBytes / MIB).toFixed(0)}`,
      `${repositories} repositories of ${TAGS} tags, ms to the end of a page, median (min – max)`,
      `first 100 repositories    shoal ${spread(catalog.ours, 1)}   docker-registry ${spread(catalog.rival, 1)}`,
      `50 tags                   shoal ${spread(tags.ours, 1)}   docker-registry ${spread(tags.rival, 1)}`,
    ],
  )
} finally {
  for (const program of running.reverse()) await program.stop()
  await rm(folder, { recursive: true })
}
