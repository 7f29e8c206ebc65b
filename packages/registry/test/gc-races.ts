import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { expect } from 'vitest'
import { ask, content, descriptor, pushBlob, pushManifest } from './running-registry.ts'

/** Where a registry answers. */
export interface Doors {
  readonly url: string
  readonly metricsUrl: string
}

/** However slow the machine is, so many of each are done. */
const LEAST_OF_EACH = 3

export interface CollectionView {
  readonly state: string
  readonly removedBlobs: number
  readonly removedBytes: number
}

/** Has a collection done and returns what the registry says of it. */
export async function collect({ metricsUrl }: Doors, query = ''): Promise<CollectionView> {
  const url = `${metricsUrl}/api/v1/gc`
  let begun = await ask(url + query, { method: 'POST' })
  // Another replica has only just done.
  while (begun.status === 409) begun = await ask(url + query, { method: 'POST' })
  if (begun.status !== 202) throw new Error(`POST answered ${begun.status}: ${begun.bytes}`)
  for (;;) {
    const { last } = JSON.parse((await ask(url)).bytes.toString()) as { last: CollectionView }
    if (last.state !== 'running') return last
  }
}

/**
 * Pushes, mounts and deletes images at random while garbage is collected, for some seconds and until each was done a few
 * times; then everything that was
 * confirmed and not deleted must be there, and nothing else after a while.
 * @param replicas of one registry; each request goes to any of them
 * @param storedBytes bytes of all blobs and manifests in the store
 */
export async function raceCollections(
  replicas: readonly Doors[],
  { seconds, storedBytes }: { readonly seconds: number; readonly storedBytes: () => Promise<number> },
): Promise<void> {
  const any = (): Doors => replicas[Math.floor(Math.random() * replicas.length)] as Doors
  const at = (path: string) => `${any().url}/v2/${path}`
  const seed = Math.floor(Math.random() * 2 ** 31)
  const endMs = performance.now() + seconds * 1000
  const isOver = () => performance.now() >= endMs && Object.values(counts).every((count) => count >= LEAST_OF_EACH)
  /** Confirmed, and nobody has begun to delete it. */
  const live = new Map<string, Buffer>()
  const counts = { pushed: 0, mounted: 0, deleted: 0, collected: 0, removed: 0 }

  const worker = async (id: number) => {
    let state = seed + id * 7919
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
      return (state >> 8) % below
    }
    for (let i = 0; !isOver(); i++) {
      const repository = `team${random(3)}/app`
      const act = random(10)
      const own = [...live.keys()].filter((each) => each.includes(`:w${id}-`))
      const victim = own[random(Math.max(1, own.length))]
      if (act < 4 && victim !== undefined) {
        live.delete(victim)
        const [from = '', tag = ''] = victim.split(':')
        const manifest = await ask(at(`${from}/manifests/${tag}`))
        const reference = random(2) === 0 ? tag : digestOf(manifest.bytes)
        // With the manifest go all tags that point at it.
        for (const [key, bytes] of live) {
          if (reference !== tag && key.startsWith(`${from}:`) && bytes.equals(manifest.bytes)) live.delete(key)
        }
        expect((await ask(at(`${from}/manifests/${reference}`), { method: 'DELETE' })).status).toBe(202)
        counts.deleted++
        continue
      }
      const tag = `w${id}-${i}`
      const pushed = await push(repository, `content ${id} ${random(6)}`)
      if (pushed === undefined) continue
      const { answer, bytes } = await pushManifest(any().url, repository, tag, pushed)
      // What was told to be there a second ago may be gone by now: then the client pushes again.
      if (answer.status !== 201) {
        expect(answer.bytes.toString()).toContain('MANIFEST_BLOB_UNKNOWN')
        continue
      }
      live.set(`${repository}:${tag}`, bytes)
      counts.pushed++
    }
  }
  /** Blobs pushed, mounted, or found to be there: as clients do. */
  const push = async (repository: string, what: string): Promise<object | undefined> => {
    const config = content(`${what} config`, 200)
    const layer = content(`${what} layer`, 3000)
    for (const bytes of [config, layer]) {
      const digest = digestOf(bytes)
      if ((await ask(at(`${repository}/blobs/${digest}`), { method: 'HEAD' })).status === 200) continue
      const query = `?mount=${digest}&from=team0/app`
      const mount = await ask(at(`${repository}/blobs/uploads/${query}`), { method: 'POST' })
      if (mount.status === 201) counts.mounted++
      else await pushBlob(any().url, repository, bytes)
    }
    return {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: descriptor(MEDIA_TYPES.ociConfig, config),
      layers: [descriptor('application/vnd.oci.image.layer.v1.tar', layer)],
    }
  }
  const collector = async () => {
    while (!isOver()) {
      const { state, removedBlobs } = await collect(any())
      expect(state).toBe('done')
      counts.collected++
      counts.removed += removedBlobs
    }
  }
  await Promise.all([collector(), ...[0, 1, 2, 3].map(worker)])

  const needed = new Map<string, number>()
  for (const [image, bytes] of live) {
    const [repository, tag] = image.split(':')
    const answer = await ask(at(`${repository}/manifests/${tag}`))
    expect(answer.bytes.equals(bytes), `${image}, seed ${seed}`).toBe(true)
    needed.set(digestOf(bytes), bytes.length)
    const { config, layers } = JSON.parse(bytes.toString()) as Record<string, never> & {
      config: { digest: string; size: number }
      layers: { digest: string; size: number }[]
    }
    for (const { digest, size } of [config, ...layers]) {
      const blob = await ask(at(`${repository}/blobs/${digest}`))
      expect(digestOf(blob.bytes), `${digest} of ${image}, seed ${seed}`).toBe(digest)
      needed.set(digest, size)
    }
  }
  // Until all is older than the grace.
  await expect
    .poll(async () => (await collect(any())).state === 'done' && (await storedBytes()), {
      timeout: 15_000,
    })
    .toBe([...needed.values()].reduce((sum, size) => sum + size, 0))
}
