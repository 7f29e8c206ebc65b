/**
 * A hot blob, from our mirror and from Debian's docker-registry (Distribution) side by side: throughput and CPU with
 * one client and with sixteen, and the time to the first byte.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blobUrl, type PushedBlob, pushBlob } from './kit/blobs.ts'
import { read } from './kit/client.ts'
import { readCommandLine } from './kit/command-line.ts'
import { startPeer, startScheduler } from './kit/network.ts'
import type { Measured } from './kit/processes.ts'
import { median, print, spread } from './kit/report.ts'
import { startRival } from './kit/rival.ts'

const MIB = 1024 * 1024
const GIB = 1024 * MIB
const CLIENT_COUNTS = [1, 16] as const
const FIRST_BYTE_READS = 100

const {
  json,
  rounds,
  size: sizeMib,
} = readCommandLine(
  'bench:mirror',
  "Compares a hot blob from a node's mirror with the same from docker-registry (Debian's Distribution).",
  {
    rounds: { what: 'rounds that are measured; medians are printed', fallback: 7, least: 1, most: 1000 },
    size: { what: 'MiB of the blob', fallback: 512, least: 1, most: 65_536 },
  },
)

/** Throughput and CPU of one server in each round. */
interface Samples {
  readonly mibps: number[]
  readonly cpuSecondsPerGib: number[]
}

const buffers = Array.from({ length: 16 }, () => Buffer.alloc(256 * 1024))

/** Reads the blob with `clients` at once, the same bytes in all whatever their number. */
async function measure(server: Measured, url: string, blob: PushedBlob, clients: number, into: Samples): Promise<void> {
  const reads = Math.max(4, clients)
  const cpuBefore = await server.cpuSeconds()
  const beganMs = performance.now()
  let left = reads
  const readNext = async (buffer: Buffer): Promise<void> => {
    while (left-- > 0) {
      const { status, bytes } = await read(url, buffer)
      if (status !== 200 || bytes !== blob.sizeBytes)
        throw new Error(`${server.name} answered ${status}, ${bytes} bytes`)
    }
  }
  await Promise.all(buffers.slice(0, clients).map(readNext))
  const seconds = (performance.now() - beganMs) / 1000
  const sent = reads * blob.sizeBytes
  into.mibps.push(sent / MIB / seconds)
  into.cpuSecondsPerGib.push(((await server.cpuSeconds()) - cpuBefore) / (sent / GIB))
}

const folder = await mkdtemp(join(tmpdir(), 'shoal-bench-'))
const running: Measured[] = []
try {
  const { process: rival, url: rivalUrl } = await startRival(folder)
  running.push(rival)
  const scheduler = await startScheduler(folder)
  running.push(scheduler.process)
  const peer = await startPeer(folder, 'peer', rivalUrl, scheduler.url)
  running.push(peer.process)

  const blob = await pushBlob(rivalUrl, 'bench/hot', 1, sizeMib)
  const servers = [
    { server: peer.process, url: blobUrl(peer.url, blob) },
    { server: rival, url: blobUrl(rivalUrl, blob) },
  ]
  // Once through each: the peer gets the blob, both have it in the page cache.
  for (const { url } of servers) await read(url, buffers[0] as Buffer)

  const samples = CLIENT_COUNTS.map(() => servers.map((): Samples => ({ mibps: [], cpuSecondsPerGib: [] })))
  for (let round = 0; round < rounds; round++) {
    for (const [c, clients] of CLIENT_COUNTS.entries()) {
      for (const [s, { server, url }] of servers.entries()) {
        await measure(server, url, blob, clients, samples[c]?.[s] as Samples)
      }
    }
  }
  const firstByteMs: number[] = []
  for (let i = 0; i < FIRST_BYTE_READS; i++) {
    firstByteMs.push((await read(servers[0]?.url ?? '', buffers[0] as Buffer)).firstByteMs)
  }

  const [ours, rivals] = (samples[0] ?? []) as [Samples, Samples]
  const [ours16, rivals16] = (samples[1] ?? []) as [Samples, Samples]
  const row = (name: string, mine: Samples, theirs: Samples) => [
    `${name}`,
    `  MiB/s        shoal ${spread(mine.mibps, 0)}   docker-registry ${spread(theirs.mibps, 0)}   ratio ${(median(mine.mibps) / median(theirs.mibps)).toFixed(2)}`,
    `  CPU s/GiB    shoal ${spread(mine.cpuSecondsPerGib, 2)}   docker-registry ${spread(theirs.cpuSecondsPerGib, 2)}   ratio ${(median(mine.cpuSecondsPerGib) / median(theirs.cpuSecondsPerGib)).toFixed(2)}`,
  ]
  print(
    json,
    {
      oursMiBps: median(ours.mibps),
      rivalMiBps: median(rivals.mibps),
      oursCpuSecondsPerGiB: median(ours.cpuSecondsPerGib),
      rivalCpuSecondsPerGiB: median(rivals.cpuSecondsPerGib),
      oursMiBps16: median(ours16.mibps),
      rivalMiBps16: median(rivals16.mibps),
      oursCpuSecondsPerGiB16: median(ours16.cpuSecondsPerGib),
      rivalCpuSecondsPerGiB16: median(rivals16.cpuSecondsPerGib),
      firstByteMsMedian: median(firstByteMs),
      rounds,
      sizeMib,
    },
    [
      `hot blob of ${sizeMib} MiB, ${rounds} rounds, median (min – max)`,
      ...row('1 client', ours, rivals),
      ...row('16 clients', ours16, rivals16),
      `first byte, ms  ${spread(firstByteMs, 2)}`,
    ],
  )
} finally {
  for (const program of running.reverse()) await program.stop()
  await rm(folder, { recursive: true })
}
