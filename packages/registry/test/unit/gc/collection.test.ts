import { type Digest, digestOf, formatDigest, MEDIA_TYPES, parseDigest } from '@shoal/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { Collection } from '../../../src/gc/collection.ts'
import { ContentUses, UseMemory } from '../../../src/storage/content-uses.ts'
import type { StorageDriver } from '../../../src/storage/driver.ts'
import { content, descriptor } from '../../running-registry.ts'

import { HOUR_MS, LAYER, REMOVE, World } from './world.ts'

let world: World
beforeEach(() => {
  world = new World()
})

describe('a collection', () => {
  it('removes what nobody names once the grace is over, and nothing else', async () => {
    await world.image('app', 'live', {}, 'v1')
    await world.blob('app', content('never named', 5000))
    const gone = await world.image('team/app', 'gone', {}, 'v1')
    await world.manifests.remove('team/app', gone)
    expect(await world.collect()).toMatchObject({ removedLayers: 0, removedBlobs: 0 })
    world.aheadMs = 2 * HOUR_MS
    const removed = { repositories: 2, manifests: 1, layers: 5, removedLayers: 3, blobs: 7, removedBlobs: 4 }
    const before = await world.collect({ ...REMOVE, isDryRun: true })
    expect(before).toMatchObject(removed)
    expect(before.removedBytes).toBeGreaterThan(6000)
    expect(await world.collect()).toEqual(before)
    expect(await world.collect()).toMatchObject({ layers: 2, removedLayers: 0, blobs: 3, removedBlobs: 0 })
    expect(await world.findings()).toEqual([])
    expect(await world.manifests.tags('app', 10)).toEqual(['v1'])
  })

  it('keeps what another repository holds', async () => {
    const layer = await world.blob('old', content('shared', 3000))
    await world.blobs.mount(layer, 'old', 'new')
    await world.manifest(
      'new',
      {
        mediaType: MEDIA_TYPES.ociManifest,
        config: descriptor(
          MEDIA_TYPES.ociEmpty,
          Buffer.from('{}'),
          formatDigest(await world.blob('new', Buffer.from('{}'))),
        ),
        layers: [descriptor(LAYER, content('shared', 3000))],
      },
      'v1',
    )
    world.aheadMs = 2 * HOUR_MS
    expect(await world.collect()).toMatchObject({ removedLayers: 1, removedBlobs: 0 })
    expect(await world.blobs.sizeOf('old', layer)).toBeUndefined()
    expect(await world.blobs.sizeOf('new', layer)).toBe(3000)
  })

  it('keeps children and signatures of what is tagged, and removes untagged images with theirs where told to', async () => {
    const child = await world.image('app', 'child')
    const index = { mediaType: MEDIA_TYPES.ociIndex, manifests: [{ ...subject(child), platform: { os: 'linux' } }] }
    const tagged = await world.manifest('app', index, 'v1')
    const signature = await world.image('app', 'signature', { subject: subject(child) })
    const old = await world.image('app', 'old', {}, 'v0')
    await world.image('app', 'signature of old', { subject: subject(old) })
    await world.manifests.untag('app', 'v0')
    world.aheadMs = 2 * HOUR_MS
    expect(await world.collect({ ...REMOVE, untagged: 'keep' })).toMatchObject({ removedManifests: 0, removedBlobs: 0 })
    expect(await world.collect()).toMatchObject({ removedManifests: 2, removedLayers: 4, removedBlobs: 6 })
    expect(await world.held('app')).toEqual([child, tagged, signature].map(formatDigest).sort())
    expect(await world.findings()).toEqual([])
  })

  it('keeps all blobs of a repository in which a manifest can not be read, and says which', async () => {
    const damaged = await world.image('app', 'damaged', {}, 'v1')
    const { algorithm, hex } = damaged
    await world.driver.write(`docker/registry/v2/blobs/${algorithm}/${hex.slice(0, 2)}/${hex}/data`, '{')
    await world.blob('app', content('never named', 5000))
    world.aheadMs = 2 * HOUR_MS
    const unreadable = [`app@${formatDigest(damaged)}`]
    expect(await world.collect()).toMatchObject({ removedLayers: 0, removedBlobs: 0, unreadable })
  })

  it('removes nothing in the time of grace after the start of a process that serves clients', async () => {
    await world.blob('app', content('never named', 5000))
    world.aheadMs = 2 * HOUR_MS
    const { driver, turns, now } = world
    const collect = (uses: ContentUses) => new Collection(REMOVE, { driver, uses, turns, now }).run(AbortSignal.any([]))
    const uses = new ContentUses(new UseMemory({ now }))
    expect(await collect(uses)).toMatchObject({ removedBlobs: 0 })
    world.aheadMs += 2 * HOUR_MS
    expect(await collect(uses)).toMatchObject({ removedBlobs: 1 })
  })
})

describe('whatever a client does at whichever moment of a collection', () => {
  const old = async () => {
    await world.image('app', 'old')
    await world.blob('other', content('old layer', 1000))
    await world.blob('other', content('old config', 100))
    world.aheadMs = 2 * HOUR_MS
  }
  const oldImage = async () => new World().image('app', 'old')
  const clients: Record<string, () => Promise<Digest>> = {
    'pushes again what is about to go': () => world.image('app', 'old', {}, 'new'),
    'names its manifest in an index': async () => {
      const child = await world.image('app', 'old')
      return world.manifest('app', { mediaType: MEDIA_TYPES.ociIndex, manifests: [subject(child)] }, 'new')
    },
    'names its manifest, when told that it is there, without a push': async () => {
      const child = await oldImage()
      const isThere = await world.manifests.has('app', child)
      if (!isThere) await world.image('app', 'old')
      return world.manifest('app', { mediaType: MEDIA_TYPES.ociIndex, manifests: [subject(child)] }, 'new')
    },
    'mounts its blobs': async () => {
      for (const [name, size] of [
        ['old layer', 1000],
        ['old config', 100],
      ] as const) {
        const bytes = content(name, size)
        if (!(await world.blobs.mount(parseDigest(digestOf(bytes)), 'other', 'third'))) await world.blob('third', bytes)
      }
      return world.image('third', 'old', {}, 'new')
    },
  }
  it.each(Object.entries(clients))('%s: what was confirmed stays whole', async (_what, client) => {
    let isReached = true
    let at = 0
    for (; isReached; at++) {
      world = new World()
      await old()
      let pushed: Promise<Digest> | undefined
      const interrupted = interruptedAt(world.driver, at, async () => {
        pushed = client()
        // It may have to wait for the collection; then the collection goes on first.
        await Promise.race([pushed.catch(() => {}), idle()])
      })
      await world.collect(REMOVE, interrupted)
      isReached = pushed !== undefined
      const digest = await (pushed ?? client())
      expect(await world.findings()).toEqual([])
      world.aheadMs += 2 * HOUR_MS
      await world.collect()
      expect(await world.findings()).toEqual([])
      const held = [...(await world.held('app')), ...(await world.held('third'))]
      expect(held).toContain(formatDigest(digest))
    }
    expect(at).toBeGreaterThan(20)
  })
})

function subject(digest: Digest) {
  return { mediaType: MEDIA_TYPES.ociManifest, digest: formatDigest(digest), size: 1 }
}

/** Resolves when all that needs no timer and no disk has gone as far as it can. */
async function idle(): Promise<void> {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** A driver that has something else done before its `at`-th operation. */
function interruptedAt(driver: StorageDriver, at: number, interrupt: () => Promise<void>): StorageDriver {
  let operations = 0
  return new Proxy(driver, {
    get: (target, name: Exclude<keyof StorageDriver, 'presign'>) => async (path: string, second: never) => {
      if (operations++ === at) await interrupt()
      return target[name](path, second)
    },
  })
}
