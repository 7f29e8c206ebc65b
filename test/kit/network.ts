import { scrape, sumSeries } from './metrics.ts'
import type { Shoal, ShoalNode, ShoalUp } from './shoal.ts'

/** Verified piece bytes that a node received, by who sent them. */
export interface ReceivedBytes {
  readonly peer: number
  readonly seed: number
  readonly origin: number
}

/** The registry as image references name it, e.g. `127.0.0.1:5000`. */
export function registryName(shoal: ShoalUp): string {
  return new URL(shoal.registry.url).host
}

/** `hosts.toml` entries that send a runtime's pulls through a peer. */
export function hostsThrough(shoal: Shoal, peer: ShoalNode) {
  return [{ registry: registryName(shoal), mirrors: [peer.mirrorUrl], server: shoal.registry.url }]
}

/** Most bytes that the registry sends for an image that a node has from its neighbours: parts to compare, a few KiB. */
export const MOST_PROOF_BYTES = 32 * 1024

/** Blob bytes that left the registry. */
export async function originBytes(shoal: ShoalUp): Promise<number> {
  return sumSeries(await scrape(`${shoal.registry.metricsUrl}/metrics`), 'shoal_registry_blob_bytes_sent_total')
}

/** What a node received since it started. */
export async function receivedBytes(node: Pick<ShoalNode, 'adminUrl'>): Promise<ReceivedBytes> {
  const series = await scrape(`${node.adminUrl}/metrics`)
  const from = (source: string) => sumSeries(series, 'shoal_node_piece_bytes_total', { source })
  return { peer: from('peer'), seed: from('seed'), origin: from('origin') }
}

/** A counter of a node, summed over the series with `labels`. */
export async function nodeMetric(node: ShoalNode, name: string, labels: Record<string, string> = {}): Promise<number> {
  return sumSeries(await scrape(`${node.adminUrl}/metrics`), name, labels)
}
