import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { dataFolder } from '@shoal/bench'
import { killAndRestart } from '../kill.ts'
import type { Row } from '../row.ts'

const MIB = 1024 * 1024

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
    strike: async ({ cluster, first, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      first.process.signal('SIGSTOP')
      return { late: [0], afterOthers: () => first.process.signal('SIGCONT') }
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
    name: 'disk-full',
    fault: "when half has arrived, something else fills a peer's disk to the last byte",
    diskBytes: 64 * MIB,
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
