import { Counter, Gauge, type Registry } from 'prom-client'

export type SwarmMetrics = ReturnType<typeof createSwarmMetrics>

/** Metrics of the libp2p node. */
export function createSwarmMetrics(registry: Registry, peerCount: () => number) {
  const registers = [registry]
  new Gauge({
    name: 'shoal_swarm_connected_nodes',
    help: 'Nodes that libp2p is connected to',
    registers,
    collect() {
      this.set(peerCount())
    },
  })
  return {
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
