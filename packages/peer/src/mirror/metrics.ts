import { Counter, Histogram, type Registry } from 'prom-client'

export type MirrorMetrics = ReturnType<typeof createMirrorMetrics>

/** Metrics of the mirror. */
export function createMirrorMetrics(registry: Registry) {
  const registers = [registry]
  return {
    requests: new Counter({
      name: 'shoal_mirror_requests_total',
      help: 'Requests of container runtimes, by what they were about and how they were answered',
      labelNames: ['kind', 'method', 'status'] as const,
      registers,
    }),
    bytesSent: new Counter({
      name: 'shoal_mirror_blob_bytes_sent_total',
      help: 'Blob bytes given to container runtimes',
      registers,
    }),
    firstByteSeconds: new Histogram({
      name: 'shoal_mirror_blob_first_byte_seconds',
      help: 'From a blob request to its first byte',
      buckets: [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30],
      registers,
    }),
  }
}
