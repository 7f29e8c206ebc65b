import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

/** What the registry counts. Names are API. */
export type RegistryMetrics = ReturnType<typeof createRegistryMetrics>

/** From a manifest to a large layer, bytes. */
const SIZES = [0, 1024, 16 * 1024, 256 * 1024, 4 * 1024 ** 2, 64 * 1024 ** 2, 1024 ** 3]

/**
 * Names that begin with `registry_` are Distribution's, with its labels, so that its dashboards go on. Labels are bounded:
 * `handler` is a kind of path, `method` one of HTTP's that fastify takes.
 */
export function createRegistryMetrics(registry: Registry) {
  const registers = [registry]
  return {
    requests: new Counter({
      name: 'registry_http_requests_total',
      help: 'Requests answered, by kind of path, method and status',
      labelNames: ['handler', 'method', 'code'],
      registers,
    }),
    requestSeconds: new Histogram({
      name: 'registry_http_request_duration_seconds',
      help: 'Time from a request to the end of its answer',
      labelNames: ['handler', 'method'],
      // From a link read out of the page cache to a layer of gigabytes over a slow link.
      buckets: [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300],
      registers,
    }),
    requestBytes: new Histogram({
      name: 'registry_http_request_size_bytes',
      help: 'Bodies of requests, as far as their heads say how long they are',
      labelNames: ['handler'],
      buckets: SIZES,
      registers,
    }),
    responseBytes: new Histogram({
      name: 'registry_http_response_size_bytes',
      help: 'Bodies of answers, as long as their heads say',
      labelNames: ['handler'],
      buckets: SIZES,
      registers,
    }),
    requestsInFlight: new Gauge({
      name: 'registry_http_in_flight_requests',
      help: 'Requests that are being answered',
      registers,
    }),
    storageSeconds: new Histogram({
      name: 'registry_storage_action_seconds',
      help: 'Time that the storage takes, by driver and action',
      labelNames: ['driver', 'action'],
      buckets: [0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60],
      registers,
    }),
    blobBytesSent: new Counter({
      name: 'shoal_registry_blob_bytes_sent_total',
      help: 'Body bytes of blobs handed to clients by the blobs endpoint',
      registers,
    }),
    uploadBytesReceived: new Counter({
      name: 'shoal_registry_upload_bytes_received_total',
      help: 'Body bytes of blobs received from clients',
      registers,
    }),
    damagedBlobs: new Counter({
      name: 'shoal_registry_damaged_blobs_total',
      help: 'Stored blobs whose bytes were found to be wrong when a client asked for them',
      registers,
    }),
    uploads: new Counter({
      name: 'shoal_registry_uploads_total',
      help: 'Uploads by what became of them: started, committed, cancelled, expired; mounted needs no upload',
      labelNames: ['outcome'],
      registers,
    }),
  }
}
