import { Counter, Gauge, type Registry } from 'prom-client'

/** What garbage collection counts; dry runs do not. Names are API. */
export type GcMetrics = ReturnType<typeof createGcMetrics>

export function createGcMetrics(registry: Registry) {
  const registers = [registry]
  return {
    collections: new Counter({
      name: 'shoal_registry_gc_collections_total',
      help: 'Garbage collections by how they ended: done, failed, stopped',
      labelNames: ['outcome'],
      registers,
    }),
    removedTags: new Counter({
      name: 'shoal_registry_retention_removed_tags_total',
      help: 'Tags that were removed because no retention policy keeps them',
      registers,
    }),
    removedBytes: new Counter({
      name: 'shoal_registry_gc_removed_bytes_total',
      help: 'Bytes of blobs and manifests that were removed from the store',
      registers,
    }),
    lastSeconds: new Gauge({
      name: 'shoal_registry_gc_last_done_timestamp_seconds',
      help: 'When the last collection that came to its end did so, since 1970',
      registers,
    }),
  }
}
