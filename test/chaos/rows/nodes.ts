import { open, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { dataFolder } from '@shoal/bench'
import { MIN_PIECE_BYTES } from '@shoal/core'
import { scrape, sumSeries } from '../../kit/metrics.ts'
import { limitCpu } from '../cpu-limit.ts'
import { killAndRestart } from '../kill.ts'
import type { Row } from '../row.ts'
import type { Scene } from '../scene.ts'

const MIB = 1024 * 1024

/** What a parent that stands still may cost a pull. */
const MOST_LOST_SECONDS = 3

/** Faults of peers and of the seed. */
export const NODE_ROWS: readonly Row[] = [
  {
    name: 'seed-killed',
    fault: 'the seed is killed when it has fetched half of the blob',
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld([cluster.seed], 0.5)
      cluster.seed.process.signal('SIGKILL')
      return {}
    },
  },
  {
    name: 'seed-disk-wiped',
    fault: 'the seed is killed when it has fetched half of the blob, and started again without its data and identity',
    strike: async ({ cluster, folder, untilHeld }) => {
      const { seed } = cluster
      await untilHeld([seed], 0.5)
      await seed.process.stop('SIGKILL')
      await rm(dataFolder(folder, seed.place), { recursive: true })
      await seed.restart()
      return {}
    },
  },
  {
    name: 'half-of-peers-killed',
    fault: 'half of the peers are killed when half has arrived; the others are judged',
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      const broken = cluster.nodes.map((_, node) => node).slice(cluster.nodes.length / 2)
      for (const node of broken) cluster.nodes[node]?.process.signal('SIGKILL')
      return { broken }
    },
  },
  {
    name: 'peer-stopped',
    fault: 'a peer stands still (SIGSTOP) from the half on; it goes on when the others are done, and must finish too',
    mostLostSeconds: MOST_LOST_SECONDS,
    strike: async ({ cluster, first, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      first.process.signal('SIGSTOP')
      return { late: [0], afterOthers: () => first.process.signal('SIGCONT') }
    },
  },
  {
    name: 'short-of-cpu',
    fault: 'from a quarter on, the seed and each peer have 1.5 % of a core',
    // A seed that does not get to a word for ten seconds loses its lease, and what of 32 MiB lies in its sockets.
    mostOriginCopies: 1.6,
    strike: async (scene) => {
      const { cluster, untilHeld } = scene
      await untilHeld(cluster.nodes, 0.25)
      await limitCpu(scene, [cluster.seed, ...cluster.nodes], 0.015)
      return { late: [...cluster.nodes.keys()] }
    },
  },
  {
    name: 'peer-restarted',
    fault:
      'a peer is killed when half has arrived and started again; the others, and a second pull through it, are judged',
    strike: async ({ cluster, first, untilHeld, pull }) => {
      await untilHeld(cluster.nodes, 0.5)
      await killAndRestart(first)
      return { broken: [0], more: [pull(0)] }
    },
  },
  {
    name: 'peer-corrupt',
    fault:
      'a peer that has the blob is killed, a bit of each piece on its disk flips, it comes back; the others pull, then it',
    waiting: [0],
    prepare: async (scene) => {
      const { first, pull } = scene
      const { failed, why } = await pull(0)
      if (failed > 0) throw new Error(`the first pull failed: ${why}`)
      await first.process.stop('SIGKILL')
      await flipBits(scene)
      await first.restart()
    },
    strike: async (scene) => {
      const { pull, pulls } = scene
      // Its disk has the blob no more; the second time it fetches it anew.
      const itsOwn = Promise.all(pulls.values()).then(() => pull(0))
      const itsSecond = itsOwn.then(() => pull(0))
      return { more: [itsOwn, itsSecond], check: () => checkBlame(scene) }
    },
  },
  {
    name: 'disk-full',
    fault: "when half has arrived, something else fills a peer's disk to the last byte",
    diskBytes: 64 * MIB,
    nodeOptions: { store: { minFreeBytes: 0 } },
    strike: async ({ cluster, folder, first, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      await fill(join(dataFolder(folder, first.place), 'filler'))
      return {}
    },
  },
]

/** Writes a file until the disk takes no more. */
async function fill(path: string): Promise<void> {
  const file = await open(path, 'w')
  try {
    for (const size of [MIB, 4096]) {
      const zeros = Buffer.alloc(size)
      while (
        await file.write(zeros).then(
          ({ bytesWritten }) => bytesWritten === size,
          () => false,
        )
      ) {}
    }
  } finally {
    await file.close()
  }
}

/** Flips a bit in every piece of the blob on the disk of the first peer. */
async function flipBits({ folder, first, digest }: Scene): Promise<void> {
  const hex = digest.slice('sha256:'.length)
  const file = await open(join(dataFolder(folder, first.place), 'blobs/sha256', hex.slice(0, 2), hex), 'r+')
  try {
    const { size } = await file.stat()
    const byte = Buffer.alloc(1)
    for (let offset = 12_345; offset < size; offset += MIN_PIECE_BYTES) {
      await file.read(byte, 0, 1, offset)
      byte.writeUInt8(byte.readUInt8() ^ 0x10)
      await file.write(byte, 0, 1, offset)
    }
  } finally {
    await file.close()
  }
}

/** The others must have noticed wrong pieces, thrown them away, and told the scheduler; the peer, that it has them. */
async function checkBlame({ cluster, first }: Scene): Promise<void> {
  const count = async (adminUrl: string, metric: string, labels: Record<string, string> = { reason: 'corrupt' }) =>
    sumSeries(await scrape(`${adminUrl}/metrics`), metric, labels)
  const rejected = await Promise.all(
    cluster.nodes.map(({ adminUrl }) => count(adminUrl, 'shoal_node_piece_rejected_total')),
  )
  const told = await Promise.all(
    cluster.schedulers.map(({ adminUrl }) => count(adminUrl, 'shoal_scheduler_piece_failures_total')),
  )
  const sum = (counts: readonly number[]) => counts.reduce((total, one) => total + one, 0)
  if (sum(rejected) === 0) throw new Error('no peer has rejected a piece')
  if (sum(told) === 0) throw new Error('the scheduler was told of no wrong piece')
  const given = await count(first.adminUrl, 'shoal_node_damaged_blobs_total', {})
  if (given !== 1) throw new Error(`the peer has noticed ${given} damaged blobs of one`)
}
