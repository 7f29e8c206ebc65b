/**
 * The lane between two processes on one machine, with plain TCP sockets, TLS sockets alone and a libp2p stream beside
 * it: throughput, and CPU of each process, when the bytes are dropped, hashed, and hashed and written.
 */
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PieceLayout } from '@shoal/core'
import { readCommandLine } from './kit/command-line.ts'
import { circumstances, median, print, spread } from './kit/report.ts'
import { startProcess, type Teller } from './kit/talk.ts'
import { createBlob } from './lane/blob.ts'
import type { DownloaderOrder } from './lane/downloader.ts'
import { IN_FLIGHT, type Measured, type Settings, THREADS, type Uploader, VARIANTS, type Variant } from './lane/plan.ts'

const MIB = 1024 * 1024
const WARM_UP_ROUNDS = 2

const {
  json,
  rounds,
  size: sizeMib,
  folder: parentFolder = tmpdir(),
} = readCommandLine(
  'bench:lane',
  'Compares the lane between two processes with plain TCP, TLS sockets alone and a libp2p stream.',
  {
    rounds: { what: 'rounds that are measured; medians are printed', fallback: 5, least: 1, most: 1000 },
    size: { what: 'MiB of the blob', fallback: 1024, least: 16, most: 65_536 },
    folder: { what: 'where the blob is made (the folder for temporary files)', kind: 'text' },
  },
)
const gib = sizeMib / 1024

const NAMES: Readonly<Record<Variant, string>> = {
  plainTcp: 'plain TCP',
  plainTls: 'TLS sockets alone',
  libp2p: 'libp2p stream (Noise, yamux)',
  laneReceive: 'lane',
  laneHash: 'lane + hash',
  laneStore: 'lane + hash + write',
}

/** What was measured of one variant, a value a round. */
interface Samples {
  readonly mibps: number[]
  readonly receiveCpu: number[]
  readonly sendCpu: number[]
}

async function transfer(uploader: Teller, downloader: Teller, variant: Variant, into?: Samples): Promise<void> {
  await downloader.ask({ do: 'connect', variant } satisfies DownloaderOrder)
  await uploader.ask({ do: 'begin' })
  const measured = downloader.ask({ do: 'measure' } satisfies DownloaderOrder)
  const { seconds, cpuSeconds } = (await measured) as Measured
  const sendCpuSeconds = (await uploader.ask({ do: 'end' })) as number
  into?.mibps.push(sizeMib / seconds)
  into?.receiveCpu.push(cpuSeconds / gib)
  into?.sendCpu.push(sendCpuSeconds / gib)
}

const samplesOf = (): Samples => ({ mibps: [], receiveCpu: [], sendCpu: [] })
const samples: Record<Variant, Samples> = {
  plainTcp: samplesOf(),
  plainTls: samplesOf(),
  libp2p: samplesOf(),
  laneReceive: samplesOf(),
  laneHash: samplesOf(),
  laneStore: samplesOf(),
}

const folder = await mkdtemp(join(parentFolder, 'shoal-bench-'))
const running: Teller[] = []
try {
  const blob = await createBlob(join(folder, 'blob'), sizeMib * MIB)
  const settings: Settings = { folder, blob }
  const up = await startProcess(new URL('./lane/uploader.ts', import.meta.url), settings)
  running.push(up.process)
  const down = await startProcess(new URL('./lane/downloader.ts', import.meta.url), {
    ...settings,
    uploader: up.answer as Uploader,
  })
  running.push(down.process)
  for (let round = -WARM_UP_ROUNDS; round < rounds; round++) {
    // Each round begins with another, so that none always follows the same one.
    const first = (round + WARM_UP_ROUNDS) % VARIANTS.length
    for (const variant of [...VARIANTS.slice(first), ...VARIANTS.slice(0, first)]) {
      await transfer(up.process, down.process, variant, round < 0 ? undefined : samples[variant])
    }
  }
} finally {
  for (const process of running) await process.end()
  await rm(folder, { recursive: true })
}

const { plainTcp, plainTls, libp2p, laneReceive, laneHash, laneStore } = samples
const laneSend = [...laneReceive.sendCpu, ...laneHash.sendCpu, ...laneStore.sendCpu]
const overPlainTcp = median(laneReceive.mibps) / median(plainTcp.mibps)
const overPlainTls = median(laneReceive.mibps) / median(plainTls.mibps)
const overLibp2p = median(laneReceive.mibps) / median(libp2p.mibps)
const rows = VARIANTS.map((variant) => {
  const { mibps, receiveCpu, sendCpu } = samples[variant]
  return [NAMES[variant], spread(mibps, 0), spread(receiveCpu, 2), spread(sendCpu, 2)]
})
const table = [['', 'MiB/s', 'CPU s/GiB, receiving', 'CPU s/GiB, sending'], ...rows].map(([name = '', ...cells]) =>
  `${name.padEnd(30)}${cells.map((cell) => cell.padEnd(24)).join('')}`.trimEnd(),
)
const { machine, node, command } = circumstances()
const pieceMib = new PieceLayout(sizeMib * MIB).pieceSize / MIB

print(
  json,
  {
    receiveMiBps: median(laneReceive.mibps),
    receiveCpuSecondsPerGiB: median(laneReceive.receiveCpu),
    sendCpuSecondsPerGiB: median(laneSend),
    storeCpuSecondsPerGiB: median(laneStore.receiveCpu),
    plainTcpMiBps: median(plainTcp.mibps),
    plainTlsMiBps: median(plainTls.mibps),
    libp2pMiBps: median(libp2p.mibps),
    overPlainTcp,
    overPlainTls,
    overLibp2p,
    hashMiBps: median(laneHash.mibps),
    storeMiBps: median(laneStore.mibps),
    samples,
    rounds,
    sizeMib,
    pieceMib,
    threads: THREADS,
    inFlight: IN_FLIGHT,
  },
  [
    `blob of ${sizeMib} MiB in pieces of ${pieceMib} MiB, ${IN_FLIGHT} in flight, ${THREADS} threads a side (libp2p: its one),`,
    `${rounds} rounds after ${WARM_UP_ROUNDS} to warm up, median (min – max)`,
    ...table,
    `lane / plain TCP ${overPlainTcp.toFixed(2)}   lane / TLS alone ${overPlainTls.toFixed(2)}   lane / libp2p ${overLibp2p.toFixed(2)}   lane sending, all three ${spread(laneSend, 2)} CPU s/GiB`,
    'All read the blob from a file in the page cache. "lane" is the node\'s own client connection without what it does',
    'with a piece; "+ hash" is its whole fetch into /dev/null; "+ write" into one file that every round writes again, as',
    'the first write to memory that the machine has not used yet costs many times as much on virtual machines.',
    `${machine}, Node ${node}: ${command}`,
  ],
)
