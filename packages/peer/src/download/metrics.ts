import { Counter, Gauge, Histogram, type Registry } from 'prom-client'

export type DownloadMetrics = ReturnType<typeof createDownloadMetrics>

/** Metrics of the download engine. */
export function createDownloadMetrics(registry: Registry, activeDownloads: () => number) {
  const registers = [registry]
  new Gauge({
    name: 'shoal_node_downloads_active',
    help: 'Blobs being downloaded',
    registers,
    collect() {
      this.set(activeDownloads())
    },
  })
  return {
    pieceBytes: new Counter({
      name: 'shoal_node_piece_bytes_total',
      help: 'Verified piece bytes received, by who sent them',
      labelNames: ['source'] as const,
      registers,
    }),
    piecesRejected: new Counter({
      name: 'shoal_node_piece_rejected_total',
      help: 'Pieces that arrived and were not kept because they were wrong, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    pieceFailures: new Counter({
      name: 'shoal_node_piece_failures_total',
      help: 'Pieces that did not come from the node that was asked for them, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    downloads: new Counter({
      name: 'shoal_node_downloads_total',
      help: 'Blob downloads that ended, by outcome',
      labelNames: ['outcome'] as const,
      registers,
    }),
    fallbacks: new Counter({
      name: 'shoal_node_origin_fallbacks_total',
      help: 'Downloads that went to the origin on their own, by reason',
      labelNames: ['reason'] as const,
      registers,
    }),
    ladderSteps: new Counter({
      name: 'shoal_node_ladder_steps_total',
      help: 'Moves of downloads to another rung: scheduler, holders, rendezvous, origin',
      labelNames: ['rung'] as const,
      registers,
    }),
    passThroughBytes: new Counter({
      name: 'shoal_node_pass_through_bytes_total',
      help: 'Blob bytes handed from the origin to clients without being kept, as there was no room or the disk failed',
      registers,
    }),
    damagedBlobs: new Counter({
      name: 'shoal_node_damaged_blobs_total',
      help: 'Whole blobs given up because their bytes on disk were wrong when a client read them',
      registers,
    }),
    downloadSeconds: new Histogram({
      name: 'shoal_node_download_seconds',
      help: 'From first wanted to whole and verified',
      buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
      registers,
    }),
  }
}
