import { Counter, Histogram, type Registry } from 'prom-client'

/** What a client call was for. */
export type OriginOperation = 'manifest_head' | 'manifest' | 'blob_head' | 'blob' | 'referrers' | 'tags'

/** Told of what the client does. */
export interface OriginMetrics {
  onRequest(operation: OriginOperation, outcome: string, seconds: number): void
  onBytes(count: number): void
}

const SECONDS = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60]

/** The room's metrics in `registry`; the outcome of a call is `ok` or the lower-case error code. */
export function createOriginMetrics(registry: Registry): OriginMetrics {
  const requests = new Counter({
    name: 'shoal_origin_requests_total',
    help: 'Calls to origins, retries and redirects counted as part of their call',
    labelNames: ['operation', 'outcome'],
    registers: [registry],
  })
  const seconds = new Histogram({
    name: 'shoal_origin_request_seconds',
    help: 'How long calls to origins took, to the last byte',
    labelNames: ['operation'],
    buckets: SECONDS,
    registers: [registry],
  })
  const bytes = new Counter({
    name: 'shoal_origin_received_bytes_total',
    help: 'Body bytes received from origins and the hosts they redirect to',
    registers: [registry],
  })
  return {
    onRequest: (operation, outcome, took) => {
      requests.inc({ operation, outcome })
      seconds.observe({ operation }, took)
    },
    onBytes: (count) => bytes.inc(count),
  }
}
