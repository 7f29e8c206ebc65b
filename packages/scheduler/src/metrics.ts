import { Counter, Gauge, Histogram, type Registry } from 'prom-client'
import type { Coordinator } from './coordination/coordinator.ts'
import type { Counters } from './core/state.ts'

/** Metrics of the scheduler, apart from those that `observe` reads. */
export interface SchedulerMetrics {
  readonly tickSeconds: Histogram
  /** Nodes whose stream the scheduler ended, by error code. */
  readonly drops: Counter<'code'>
}

export function createSchedulerMetrics(registry: Registry): SchedulerMetrics {
  return {
    drops: new Counter({
      name: 'shoal_scheduler_dropped_nodes_total',
      help: 'Nodes whose stream the scheduler ended, and why',
      labelNames: ['code'],
      registers: [registry],
    }),
    tickSeconds: new Histogram({
      name: 'shoal_scheduler_tick_seconds',
      help: 'Time to decide what follows from the events of a tick and to send it',
      buckets: [0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1],
      registers: [registry],
    }),
  }
}

/** Metrics that are read from the coordinator and its core when they are asked for. */
export function observe(registry: Registry, coordinator: Coordinator): void {
  const { core } = coordinator
  const registers = [registry]
  new Counter({
    name: 'shoal_scheduler_messages_total',
    help: 'Messages on the streams of nodes',
    labelNames: ['direction'],
    registers,
    collect() {
      this.reset()
      this.inc({ direction: 'in' }, coordinator.messages.in)
      this.inc({ direction: 'out' }, coordinator.messages.out)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_nodes',
    help: 'Nodes that are connected',
    labelNames: ['role'],
    registers,
    collect() {
      const count = { peer: 0, seed: 0 }
      for (const node of core.nodes()) count[node.info.role]++
      this.set({ role: 'peer' }, count.peer)
      this.set({ role: 'seed' }, count.seed)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_swarms',
    help: 'Swarms: active ones are waited for by a node, idle ones are remembered',
    labelNames: ['state'],
    registers,
    collect() {
      let active = 0
      for (const swarm of core.swarms.values()) if (swarm.wanting > 0) active++
      this.set({ state: 'active' }, active)
      this.set({ state: 'idle' }, core.swarms.size - active)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_blobs',
    help: 'Blobs that are held whole, or wanted, by a connected node',
    registers,
    collect() {
      this.set(core.blobs.size)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_origin_fetches',
    help: 'Blobs that a node fetches from the origin for all, and such as wait for their turn',
    labelNames: ['state'],
    registers,
    collect() {
      this.set({ state: 'running' }, core.leases.granted)
      this.set({ state: 'waiting' }, core.leases.waiting)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_holdings',
    help: 'Blobs held whole, counted for each node that holds one',
    registers,
    collect() {
      this.set(core.kept.holdings)
    },
  })
  new Gauge({
    name: 'shoal_scheduler_swarm_pieces',
    help: 'Pieces of all swarms together',
    registers,
    collect() {
      this.set(core.kept.pieces)
    },
  })
  totals('refused_total', 'Joins, holdings and parts that met a bound', 'bound', (counters) => counters.refused)
  total('assignments_total', 'Pieces assigned', (counters) => counters.assignments)
  total('bans_total', 'Nodes banned for sending wrong bytes to several nodes', (counters) => counters.bans)
  total('pauses_total', 'Nodes paused because several nodes could not reach them', (counters) => counters.pauses)
  total(
    'digest_conflicts_total',
    'Piece digests that contradict what was known',
    (counters) => counters.digestConflicts,
  )
  totals('bytes_total', 'Bytes that nodes reported, by source', 'source', (counters) => counters.bytes)
  totals('leases_total', 'Leases granted, and how they ended', 'outcome', (counters) => counters.leases)
  totals('piece_failures_total', 'Assigned pieces that failed', 'reason', (counters) => counters.pieceFailures)

  function total(name: string, help: string, read: (counters: Readonly<Counters>) => number): void {
    new Counter({
      name: `shoal_scheduler_${name}`,
      help,
      registers,
      collect() {
        this.reset()
        this.inc(read(core.counters))
      },
    })
  }

  function totals(name: string, help: string, label: string, read: (counters: Readonly<Counters>) => object): void {
    new Counter({
      name: `shoal_scheduler_${name}`,
      help,
      labelNames: [label],
      registers,
      collect() {
        this.reset()
        for (const [key, value] of Object.entries(read(core.counters))) this.inc({ [label]: key }, value as number)
      },
    })
  }
}
