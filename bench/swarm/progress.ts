import { request } from 'undici'
import type { Cluster, Service } from './cluster.ts'
import type { Workload } from './workload.ts'

/** Four looks a second at each node cost a few hundredths of a core. */
const LOOK_MS = 250

/** What a node held of the workload as time went on. */
export interface Progress {
  readonly name: string
  readonly zone: number
  readonly isSeed: boolean
  /** Share of the workload's bytes, by seconds since the beginning. */
  readonly points: { readonly seconds: number; readonly share: number }[]
}

/** A blob that a node downloads, or has downloaded. */
interface Download {
  readonly digest: string
  /** Bytes. */
  readonly size: number
  readonly pieces: number
  /** Pieces. */
  readonly held: number
}

/** What a node says of its downloads. */
export async function downloadsOf(
  { adminUrl }: Service,
  options: { readonly signal?: AbortSignal } = {},
): Promise<readonly Download[]> {
  const { body } = await request(`${adminUrl}/api/v1/downloads`, options)
  return ((await body.json()) as { downloads: readonly Download[] }).downloads
}

/** Looks at what every node holds until `end` is called; the same as `Progress` gives. */
export function followProgress(cluster: Cluster, workload: Workload): { end: () => Promise<Progress[]> } {
  const beganMs = performance.now()
  const stopping = new AbortController()
  const followed = [cluster.seed, ...cluster.nodes].map((service) =>
    follow(service, cluster, workload, beganMs, stopping.signal),
  )
  return {
    end: () => {
      stopping.abort()
      return Promise.all(followed)
    },
  }
}

async function follow(
  service: Service,
  cluster: Cluster,
  workload: Workload,
  beganMs: number,
  signal: AbortSignal,
): Promise<Progress> {
  const wanted = new Map(workload.blobs.map(({ digest }) => [digest, 0]))
  const { place } = service
  const progress: Progress = { name: place.name, zone: place.zone, isSeed: place === cluster.seed.place, points: [] }
  const look = async () => {
    for (const { digest, size, pieces, held } of await downloadsOf(service)) {
      if (wanted.has(digest) && pieces > 0) wanted.set(digest, (size * held) / pieces)
    }
    const bytes = [...wanted.values()].reduce((sum, value) => sum + value, 0)
    progress.points.push({ seconds: (performance.now() - beganMs) / 1000, share: bytes / workload.sizeBytes })
  }
  while (!signal.aborted) {
    await look()
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
  await look()
  return progress
}
