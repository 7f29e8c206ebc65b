import { open } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { dataFolder, type Pulled, type Service } from '@shoal/bench'
import { cut, heal } from './cuts.ts'
import { ownerAmong } from './moments.ts'
import type { Scene } from './scene.ts'

const MIB = 1024 * 1024
/** Longer than it takes to notice a scheduler that hangs (3 s) and a parent that stalls (5 s). */
const PARTITION_MS = 8000
const ORIGIN_STALL_MS = 5000

/** What came of a fault, beside what is expected of every pull: that it ends well, in time. Nodes by their numbers. */
interface Struck {
  /** Nodes whose own pull may break, since their process ended. */
  readonly broken?: readonly number[]
  /** Nodes whose pull must end well, but whose time does not count: they stood still. */
  readonly late?: readonly number[]
  /** More pulls that must end well, whose time does not count. */
  readonly more?: readonly Promise<Pulled>[]
  /** What is done once all other pulls have ended. */
  readonly afterOthers?: () => void
}

/** A fault, and the cluster that it strikes. */
export interface Row {
  readonly name: string
  /** For people. */
  readonly fault: string
  /** 1 unless told; 0: none runs, though nodes are told of one. */
  readonly schedulers?: 0 | 1 | 2
  /** Room on the disk of the first node, bytes; it is not limited unless told. */
  readonly diskBytes?: number
  /** Strikes at its moment of the pull, which has begun. */
  strike(scene: Scene): Promise<Struck>
}

/** What all other rows are compared with. */
export const REFERENCE: Row = {
  name: 'undisturbed',
  fault: 'nothing happens',
  strike: async () => ({}),
}

/** All rows, the reference first. */
export const ROWS: readonly Row[] = [
  REFERENCE,
  {
    name: 'scheduler-killed',
    fault: 'the only scheduler is killed when half of the blob has arrived',
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      for (const { process } of cluster.schedulers) process.signal('SIGKILL')
      return {}
    },
  },
  {
    name: 'scheduler-absent',
    fault: 'no scheduler ever ran; nodes know each other by libp2p.bootstrap',
    schedulers: 0,
    strike: async () => ({}),
  },
  {
    name: 'scheduler-restarted',
    fault: 'the only scheduler is killed when a third has arrived, and started again at once',
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.3)
      await Promise.all(cluster.schedulers.map(killAndRestart))
      return {}
    },
  },
  {
    name: 'one-of-two-schedulers',
    fault: 'of two schedulers, the one that the blob belongs to is killed when half has arrived',
    schedulers: 2,
    strike: async ({ cluster, digest, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.5)
      const owner = await ownerAmong(cluster.schedulers, digest)
      owner.process.signal('SIGKILL')
      return {}
    },
  },
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
    name: 'lanes-black-holed',
    fault: 'from a quarter on, packets to the lane ports between two halves of the peers vanish',
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.25)
      const places = cluster.nodes.map(({ place }) => place)
      const half = places.length / 2
      await cut(places.slice(0, half), places.slice(half), places[0]?.ports[1])
      return {}
    },
  },
  {
    name: 'all-lanes-black-holed',
    fault: 'from a quarter on, packets to the lane port of any node vanish, also of the seed; libp2p is left',
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.25)
      const places = [cluster.seed, ...cluster.nodes].map(({ place }) => place)
      for (const [number, place] of places.entries()) await cut([place], places.slice(number + 1), place.ports[1])
      return {}
    },
  },
  {
    name: 'partition-healed',
    fault: `from a quarter on, half of the peers reach neither the others nor any service, for ${PARTITION_MS / 1000} s`,
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld(cluster.nodes, 0.25)
      const places = cluster.nodes.map(({ place }) => place)
      const half = places.length / 2
      const services = [cluster.registry, ...cluster.schedulers, cluster.seed].map(({ place }) => place)
      await cut([...services, ...places.slice(0, half)], places.slice(half))
      await delay(PARTITION_MS)
      await heal()
      return {}
    },
  },
  {
    name: 'origin-stalled',
    fault: `the registry stands still for ${ORIGIN_STALL_MS / 1000} s when the seed has fetched half of the blob`,
    strike: async ({ cluster, untilHeld }) => {
      await untilHeld([cluster.seed], 0.5)
      cluster.registry.process.signal('SIGSTOP')
      await delay(ORIGIN_STALL_MS)
      cluster.registry.process.signal('SIGCONT')
      return {}
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

async function killAndRestart(service: Service): Promise<void> {
  await service.process.stop('SIGKILL')
  await service.restart()
}

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
