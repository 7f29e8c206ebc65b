import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { afterEach, describe, expect, it } from 'vitest'
import {
  ask,
  content,
  descriptor,
  pushBlob,
  pushManifest,
  type RunningRegistry,
  startRegistry,
} from '../running-registry.ts'

const SECONDS = Number(process.env.SHOAL_GC_SECONDS ?? 10)
const GRACE_MS = 1000
const gc = { everyHours: 0, graceHours: GRACE_MS / 3_600_000, untagged: 'remove' }

const running: RunningRegistry[] = []
afterEach(async () => {
  for (const each of running.splice(0)) await each.dispose()
})

async function start(values: Record<string, unknown> = {}): Promise<RunningRegistry> {
  const registry = await startRegistry({ gc, ...values })
  running.push(registry)
  return registry
}

interface View {
  readonly last: { readonly state: string; readonly removedBlobs: number; readonly removedBytes: number }
}

/** Has a collection done and returns what it says of itself. */
async function collect(registry: RunningRegistry, query = ''): Promise<View['last']> {
  const url = `${registry.metricsUrl}/api/v1/gc`
  const begun = await ask(url + query, { method: 'POST' })
  if (begun.status !== 202) throw new Error(`POST answered ${begun.status}: ${begun.bytes}`)
  for (;;) {
    const { last } = JSON.parse((await ask(url)).bytes.toString()) as View
    if (last.state !== 'running') return last
  }
}

/** Bytes of all blobs and manifests in the store. */
async function storedBytes({ dataDir }: RunningRegistry): Promise<number> {
  const folder = join(dataDir, 'docker/registry/v2/blobs')
  const names = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith('/data'))
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(folder, name))).size))
  return sizes.reduce((sum, size) => sum + size, 0)
}

describe('garbage collection', () => {
  it('is begun, looked at, and tried without removing by the door for operators', async () => {
    const registry = await start({ gc: { ...gc, graceHours: 1e-7 } })
    await pushBlob(registry.url, 'app', content('never named', 5000))
    expect(JSON.parse((await ask(`${registry.metricsUrl}/api/v1/gc`)).bytes.toString())).toEqual({ last: null })
    expect((await ask(`${registry.metricsUrl}/api/v1/gc?dryRun=yes`, { method: 'POST' })).status).toBe(400)
    const removed = { state: 'done', removedLayers: 1, removedBlobs: 1, removedBytes: 5000, unreadable: [] }
    expect(await collect(registry, '?dryRun=true')).toMatchObject({ ...removed, isDryRun: true })
    expect(await storedBytes(registry)).toBe(5000)
    expect(await collect(registry)).toMatchObject({ ...removed, isDryRun: false })
    expect(await storedBytes(registry)).toBe(0)
  })

  it(
    `loses nothing that was confirmed and not deleted, for ${SECONDS} s of pushes, mounts and deletions at once`,
    async () => {
      const registry = await start()
      const { url } = registry
      const seed = Math.floor(Math.random() * 2 ** 31)
      const endMs = performance.now() + SECONDS * 1000
      /** Confirmed, and nobody has begun to delete it. */
      const live = new Map<string, Buffer>()
      const counts = { pushed: 0, mounted: 0, deleted: 0, collected: 0, removed: 0 }

      const worker = async (id: number) => {
        let state = seed + id * 7919
        const random = (below: number) => {
          state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
          return (state >> 8) % below
        }
        for (let i = 0; performance.now() < endMs; i++) {
          const repository = `team${random(3)}/app`
          const act = random(10)
          const own = [...live.keys()].filter((each) => each.includes(`:w${id}-`))
          const victim = own[random(Math.max(1, own.length))]
          if (act < 4 && victim !== undefined) {
            live.delete(victim)
            const [from = '', tag = ''] = victim.split(':')
            const manifest = await ask(`${url}/v2/${from}/manifests/${tag}`)
            const reference = random(2) === 0 ? tag : digestOf(manifest.bytes)
            // With the manifest go all tags that point at it.
            for (const [key, bytes] of live) {
              if (reference !== tag && key.startsWith(`${from}:`) && bytes.equals(manifest.bytes)) live.delete(key)
            }
            expect((await ask(`${url}/v2/${from}/manifests/${reference}`, { method: 'DELETE' })).status).toBe(202)
            counts.deleted++
            continue
          }
          const tag = `w${id}-${i}`
          const pushed = await push(repository, `content ${id} ${random(6)}`)
          if (pushed === undefined) continue
          const { answer, bytes } = await pushManifest(url, repository, tag, pushed)
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
          if ((await ask(`${url}/v2/${repository}/blobs/${digest}`, { method: 'HEAD' })).status === 200) continue
          const query = `?mount=${digest}&from=team0/app`
          const mount = await ask(`${url}/v2/${repository}/blobs/uploads/${query}`, { method: 'POST' })
          if (mount.status === 201) counts.mounted++
          else await pushBlob(url, repository, bytes)
        }
        return {
          schemaVersion: 2,
          mediaType: MEDIA_TYPES.ociManifest,
          config: descriptor(MEDIA_TYPES.ociConfig, config),
          layers: [descriptor('application/vnd.oci.image.layer.v1.tar', layer)],
        }
      }
      const collector = async () => {
        while (performance.now() < endMs) {
          const { state, removedBlobs } = await collect(registry)
          expect(state).toBe('done')
          counts.collected++
          counts.removed += removedBlobs
        }
      }
      await Promise.all([collector(), ...[0, 1, 2, 3].map(worker)])

      const needed = new Map<string, number>()
      for (const [image, bytes] of live) {
        const [repository, tag] = image.split(':')
        const answer = await ask(`${url}/v2/${repository}/manifests/${tag}`)
        expect(answer.bytes.equals(bytes), `${image}, seed ${seed}`).toBe(true)
        needed.set(digestOf(bytes), bytes.length)
        const { config, layers } = JSON.parse(bytes.toString()) as Record<string, never> & {
          config: { digest: string; size: number }
          layers: { digest: string; size: number }[]
        }
        for (const { digest, size } of [config, ...layers]) {
          const blob = await ask(`${url}/v2/${repository}/blobs/${digest}`)
          expect(digestOf(blob.bytes), `${digest} of ${image}, seed ${seed}`).toBe(digest)
          needed.set(digest, size)
        }
      }
      // Until all is older than the grace.
      await expect
        .poll(async () => (await collect(registry)).state === 'done' && (await storedBytes(registry)), {
          timeout: 15_000,
        })
        .toBe([...needed.values()].reduce((sum, size) => sum + size, 0))
      for (const count of Object.values(counts)) expect(count).toBeGreaterThan(0)
    },
    SECONDS * 1000 + 60_000,
  )
})
