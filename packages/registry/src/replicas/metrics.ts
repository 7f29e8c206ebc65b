import { Counter, Gauge, type Registry } from 'prom-client'

/** How the replicas' Redis does. Names are API. */
export type ReplicaMetrics = ReturnType<typeof createReplicaMetrics>

export function createReplicaMetrics(registry: Registry) {
  const registers = [registry]
  return {
    connected: new Gauge({
      name: 'shoal_registry_replicas_connected',
      help: 'Whether the Redis that replicas share is reached: 1, or 0 while the registry takes no changes',
      registers,
    }),
    failures: new Counter({
      name: 'shoal_registry_replicas_failures_total',
      help: 'What Redis did not do, or not in time',
      registers,
    }),
  }
}
