import { setTimeout as delay } from 'node:timers/promises'
import { cut, heal, slowDown, spoilLinks } from '../cuts.ts'
import type { Row } from '../row.ts'

/** Far longer than it takes to notice a scheduler that hangs, or a parent that stalls: some 2 s each. */
const PARTITION_MS = 8000
const SLOWER = 20
const FAR_MS = 50
const LOSS_SHARE = 0.02

/** Faults of the network. */
export const LINK_ROWS: readonly Row[] = [
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
    name: 'peer-slow',
    fault: `from 60 % on, a peer's link is ${SLOWER} times slower; it must finish too, the others hardly later`,
    mostSlowdown: 2.5,
    strike: async (scene) => {
      const { cluster, first, untilHeld } = scene
      await untilHeld(cluster.nodes, 0.6)
      await slowDown(scene, first.place, SLOWER)
      return { late: [0] }
    },
  },
  {
    name: 'links-far-and-lossy',
    fault: `round trips take ${FAR_MS} ms, and ${LOSS_SHARE * 100} % of all packets are lost`,
    prepare: (scene) => spoilLinks(scene, FAR_MS, LOSS_SHARE),
    strike: async () => ({}),
  },
]
