import { Counter, Gauge, type Registry } from 'prom-client'

export type StoreMetrics = ReturnType<typeof createStoreMetrics>

/** What the gauges show, read when somebody scrapes. */
export interface StoreView {
  readonly completeBlobs: number
  readonly completeBytes: number
  readonly partialBlobs: number
  /** With what is promised to them. */
  readonly partialBytes: number
  /** Of the quota, by what is no blob: manifests. */
  readonly otherBytes: number
  /** 0: none. */
  readonly quotaBytes: number
  /** Free on the file system. */
  readonly freeBytes: number
}

/** Metrics of the store. */
export function createStoreMetrics(registry: Registry, view: () => StoreView) {
  const registers = [registry]
  new Gauge({
    name: 'shoal_store_bytes',
    help: 'Bytes of blobs kept; of blobs in part with the room that is kept for the rest',
    labelNames: ['state'] as const,
    registers,
    collect() {
      const { completeBytes, partialBytes } = view()
      this.set({ state: 'whole' }, completeBytes)
      this.set({ state: 'partial' }, partialBytes)
    },
  })
  new Gauge({
    name: 'shoal_store_blobs',
    help: 'Blobs kept',
    labelNames: ['state'] as const,
    registers,
    collect() {
      const { completeBlobs, partialBlobs } = view()
      this.set({ state: 'whole' }, completeBlobs)
      this.set({ state: 'partial' }, partialBlobs)
    },
  })
  new Gauge({
    name: 'shoal_store_manifest_bytes',
    help: 'Bytes of manifests kept',
    registers,
    collect() {
      this.set(view().otherBytes)
    },
  })
  new Gauge({
    name: 'shoal_store_quota_bytes',
    help: 'Most bytes of blobs and manifests that may be kept; 0 is no limit',
    registers,
    collect() {
      this.set(view().quotaBytes)
    },
  })
  new Gauge({
    name: 'shoal_store_free_bytes',
    help: 'Bytes free on the file system of the data folder',
    registers,
    collect() {
      this.set(view().freeBytes)
    },
  })
  return {
    evictions: new Counter({
      name: 'shoal_store_evictions_total',
      help: 'Blobs evicted, by the limit that made it necessary',
      labelNames: ['reason'] as const,
      registers,
    }),
    evictedBytes: new Counter({
      name: 'shoal_store_evicted_bytes_total',
      help: 'Bytes of evicted blobs, by the limit that made it necessary',
      labelNames: ['reason'] as const,
      registers,
    }),
    refusals: new Counter({
      name: 'shoal_store_no_room_total',
      help: 'Downloads not begun because their blob did not fit',
      registers,
    }),
    scrubbed: new Counter({
      name: 'shoal_store_scrubbed_blobs_total',
      help: 'Files that scrubs checked, by what came out',
      labelNames: ['result'] as const,
      registers,
    }),
    scrubEnd: new Gauge({
      name: 'shoal_store_scrub_end_timestamp_seconds',
      help: 'When the last scrub came to its end; 0 when none did since the start',
      registers,
    }),
  }
}
