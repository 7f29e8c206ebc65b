import { type PushedBlob, pushBytes, pushImage } from '../kit/blobs.ts'
import type { Pull } from './client.ts'

const REPOSITORY = 'bench/swarm'

/** What is pulled in a round. */
export interface Workload {
  readonly blobs: readonly (PushedBlob & { readonly seed: number; readonly start?: Buffer })[]
  /** Path of the manifest, of an image. */
  readonly manifest: string | undefined
  readonly sizeBytes: number
}

/**
 * Pushes what is to be pulled: blobs that nobody has seen before, one for each size.
 * @param start what each begins with in the place of its own first bytes, less than 4 MiB
 */
export async function pushWorkload(
  registryUrl: string,
  round: number,
  sizesBytes: readonly number[],
  isImage: boolean,
  start?: Buffer,
): Promise<Workload> {
  const blobs = []
  for (const [i, sizeBytes] of sizesBytes.entries()) {
    const seed = round * 1000 + i
    const pushed = await pushBytes(registryUrl, REPOSITORY, seed, sizeBytes, start)
    blobs.push({ ...pushed, seed, ...(start === undefined ? {} : { start }) })
  }
  return {
    blobs,
    manifest: isImage ? await pushImage(registryUrl, blobs, `round-${round}`) : undefined,
    sizeBytes: sizesBytes.reduce((sum, size) => sum + size, 0),
  }
}

/** The workload as a client pulls it from `baseUrl`. */
export function pullOf({ blobs, manifest }: Workload, baseUrl: string, afterMs: number): Pull {
  return {
    ...(manifest === undefined ? {} : { manifestUrl: baseUrl + manifest }),
    blobs: blobs.map(({ repository, digest, seed, sizeBytes, start }) => ({
      url: `${baseUrl}/v2/${repository}/blobs/${digest}`,
      seed,
      sizeBytes,
      ...(start === undefined ? {} : { start: start.toString('base64') }),
    })),
    afterMs,
  }
}
