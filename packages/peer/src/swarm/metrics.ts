import { Counter, Gauge, type Registry } from 'prom-client'

export type SwarmMetrics = ReturnType<typeof createSwarmMetrics>

/** Metrics of the libp2p node. */
export function createSwarmMetrics(registry: Registry, peerCount: () => number, providerRecords: () => number) {
  const registers = [registry]
  new Gauge({
    name: 'shoal_swarm_connected_nodes',
    help: 'Nodes that libp2p is connected to',
    registers,
    collect() {
      this.set(peerCount())
    },
  })
  new Gauge({
    name: 'shoal_swarm_provider_records',
    help: 'Provider records of the DHT that are kept for other nodes',
    registers,
    collect() {
      this.set(providerRecords())
    },
  })
  return {
    lookups: new Counter({
      name: 'shoal_swarm_bootstrap_lookups_total',
      help: 'Look-ups of the names in libp2p.bootstrapDns, by outcome: found or failed',
      labelNames: ['outcome'] as const,
      registers,
    }),
    bootstrapDials: new Counter({
      name: 'shoal_swarm_bootstrap_dials_total',
      help: 'Dials of addresses to start from, by source (told, dns, mdns) and outcome (connected, failed)',
      labelNames: ['source', 'outcome'] as const,
      registers,
    }),
    mdnsFailures: new Counter({
      name: 'shoal_swarm_mdns_failures_total',
      help: 'Multicast DNS messages that could not be sent, received or understood',
      registers,
    }),
    provided: new Counter({
      name: 'shoal_swarm_provided_total',
      help: 'Provider records given to the DHT',
      registers,
    }),
    questions: new Counter({
      name: 'shoal_swarm_questions_total',
      help: 'Questions of other nodes for what this one holds, by outcome',
      labelNames: ['outcome'] as const,
      registers,
    }),
  }
}
