import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type Digest, digestOf, formatDigest, MEDIA_TYPES, parseDigest } from '@shoal/core'
import { Level } from 'level'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { Collection } from '../../../src/gc/collection.ts'
import { ContentUses, UseMemory } from '../../../src/storage/content-uses.ts'
import { ManifestStore } from '../../../src/storage/manifests.ts'
import { blobPath } from '../../../src/storage/paths.ts'
import { Turns } from '../../../src/storage/turns.ts'
import { allOf, IndexWorld, referrersOf } from './world.ts'

let world: IndexWorld
beforeEach(async () => {
  world = await IndexWorld.start()
})
afterEach(() => world.dispose())

const SUBJECTS = ['one', 'two'].map((text) => parseDigest(digestOf(text)))
const [SUBJECT] = SUBJECTS as [Digest, Digest]

function manifestOf(seed: string, subject?: Digest): { digest: Digest; bytes: Buffer } {
  const bytes = Buffer.from(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [],
      annotations: { seed },
      ...(subject && {
        subject: { mediaType: MEDIA_TYPES.ociManifest, digest: formatDigest(subject), size: 3 },
      }),
    }),
  )
  return { digest: parseDigest(digestOf(bytes)), bytes }
}

async function push(repository: string, seed: string, { tag, subject }: { tag?: string; subject?: Digest } = {}) {
  const { digest, bytes } = manifestOf(seed, subject)
  await world.manifests.put(repository, digest, bytes)
  if (tag !== undefined) await world.manifests.tag(repository, tag, digest)
  return digest
}

/** Has everything of the repositories followed. */
async function follow(...repositories: string[]): Promise<void> {
  await allOf(world.index, repositories, SUBJECTS)
  await world.index.settle()
  world.storage.looks.length = 0
}

async function expectSame(...repositories: string[]): Promise<void> {
  expect(await allOf(world.index, repositories, SUBJECTS)).toEqual(await allOf(world.stored(), repositories, SUBJECTS))
}

describe('the index of lists', () => {
  it('answers without a look at the storage, once it was asked', async () => {
    for (const tag of ['b', 'a', 'B', 'c-1']) await push('lib/app', tag, { tag })
    for (const name of ['lib/app/sub', 'lib', 'lib-x']) await push(name, 'x', { tag: 'x' })
    const artifact = await push('lib/app', 'signature', { subject: SUBJECT })
    await follow('lib/app')

    expect(await world.index.repositories(10)).toEqual(['lib', 'lib/app', 'lib/app/sub', 'lib-x'])
    expect(await world.index.repositories(2, 'lib/app')).toEqual(['lib/app/sub', 'lib-x'])
    expect(await world.index.repositories(0)).toEqual([])
    expect(await world.index.tags('lib/app', 10)).toEqual(['B', 'a', 'b', 'c-1'])
    expect(await world.index.tags('lib/app', 2, 'a')).toEqual(['b', 'c-1'])
    expect(await referrersOf(world.index, 'lib/app', SUBJECT)).toEqual([formatDigest(artifact)])
    expect(await referrersOf(world.index, 'lib/app', SUBJECT, formatDigest(artifact))).toEqual([])
    expect(world.storage.looks).toEqual([])
  })

  it('knows no repository that is not there, now or later', async () => {
    await follow('none')
    expect(await world.index.tags('none', 10)).toBeUndefined()
    await push('none', 'x', { tag: 'x' })
    expect(await world.index.tags('none', 10)).toEqual(['x'])
  })

  it('follows what is pushed, moved, deleted and collected', async () => {
    const first = await push('app', 'first', { tag: 'v1' })
    await follow('app')
    const second = await push('app', 'second', { tag: 'v1', subject: SUBJECT })
    await push('app', 'second', { tag: 'v2', subject: SUBJECT })
    await push('new', 'second', { tag: 'v3', subject: SUBJECT })
    expect(await world.index.tags('app', 10)).toEqual(['v1', 'v2'])
    expect(await world.index.repositories(10)).toEqual(['app', 'new'])
    expect(await referrersOf(world.index, 'app', SUBJECT)).toEqual([formatDigest(second)])

    await world.manifests.untag('app', 'v2')
    expect(await world.index.tags('app', 10)).toEqual(['v1'])
    await world.manifests.remove('app', second)
    expect(await world.index.tags('app', 10)).toEqual([])
    expect(await referrersOf(world.index, 'app', SUBJECT)).toEqual([])

    const third = await push('app', 'third', { subject: SUBJECT })
    expect(await referrersOf(world.index, 'app', SUBJECT)).toEqual([formatDigest(third)])
    const collection = new Collection(
      { graceMs: 0, untagged: 'remove', isDryRun: false },
      {
        driver: world.driver,
        uses: new ContentUses(new UseMemory({ knownSinceMs: 0 })),
        turns: new Turns(),
        now: () => Date.now() + 1000,
      },
    )
    expect((await collection.run(new AbortController().signal)).removedManifests).toBe(2)
    expect(await world.manifests.links('app', first)).toBe(false)
    await expectSame('app', 'new')
  })

  it('keeps what changes while it walks', async () => {
    await push('app', 'one', { tag: 'goes' })
    await push('app', 'two', { tag: 'stays' })
    const referrer = await push('app', 'three', { subject: SUBJECT })
    let changed = false
    world.storage.before = async (what, path) => {
      // The walk has listed the tags, and looks at each, when they change.
      if (changed || what !== 'read' || !path.includes(referrer.hex)) return
      changed = true
      await world.manifests.untag('app', 'goes')
      await push('app', 'four', { tag: 'comes' })
      await push('app', 'five', { subject: SUBJECT })
      await push('app/below', 'six', { tag: 'v1' })
    }
    await world.index.tags('app', 10)
    await world.index.settle()
    expect(changed).toBe(true)
    world.storage.looks.length = 0
    expect(await world.index.tags('app', 10)).toEqual(['comes', 'stays'])
    expect(world.storage.looks).toEqual([])
    await expectSame('app', 'app/below')
  })

  it('asks the storage again for what was changed by half', async () => {
    await push('app', 'one', { tag: 'v1' })
    await follow('app')
    const { remove } = world.storage
    world.storage.remove = async (path) => {
      await remove.call(world.storage, `${path}/current/link`)
      throw new Error('the store is away')
    }
    await expect(world.manifests.untag('app', 'v1')).rejects.toThrow('away')
    world.storage.remove = remove
    expect(await world.index.tags('app', 10)).toEqual([])
    await expectSame('app')
  })

  it('takes for used what clients are told refers to something', async () => {
    const referrer = await push('app', 'signature', { subject: SUBJECT })
    await world.restart()
    await follow('app')
    const sinceMs = Date.now() + 1
    while (Date.now() <= sinceMs) await new Promise(setImmediate)
    expect(await world.uses.usedSince(referrer, sinceMs)).toBe(false)
    await referrersOf(world.index, 'app', SUBJECT)
    expect(world.storage.looks).toEqual([])
    expect(await world.uses.usedSince(referrer, sinceMs)).toBe(true)
  })

  it('believes nothing of what another registry may have changed meanwhile, but what manifests say', async () => {
    await push('app', 'one', { tag: 'v1' })
    const referrer = await push('app', 'signature', { subject: SUBJECT })
    await follow('app')
    const behind = new ManifestStore(world.storage, new ContentUses())
    await world.restart(() => behind.untag('app', 'v1'))
    expect(await world.index.tags('app', 10)).toEqual([])
    await world.index.settle()
    expect(await referrersOf(world.index, 'app', SUBJECT)).toEqual([formatDigest(referrer)])
    expect(world.storage.looks.filter((look) => /^read .*\/data$/.test(look))).toEqual([])

    await behind.tag('app', 'v2', referrer)
    expect(await world.index.tags('app', 10)).toEqual([])
    world.index.forgetAll()
    expect(await world.index.tags('app', 10)).toEqual(['v2'])
  })

  it('knows what manifests name without reading them again, over restarts too', async () => {
    const layer = { mediaType: 'application/x', digest: digestOf('layer'), size: 5 }
    const bytes = Buffer.from(
      JSON.stringify({ schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: layer, layers: [layer] }),
    )
    const digest = parseDigest(digestOf(bytes))
    await world.manifests.put('app', digest, bytes)
    const odd = parseDigest(digestOf('odd'))
    await world.storage.write(blobPath(odd), 'odd')
    world.storage.looks.length = 0
    for (let round = 0; round < 2; round++) {
      const { blobs } = (await world.index.references(digest)) ?? {}
      expect(new Set(blobs)).toEqual(new Set([layer.digest]))
      expect(await world.index.references(odd)).toBeUndefined()
      expect(await world.index.references(SUBJECT)).toBeUndefined()
      await world.restart()
    }
    expect(world.storage.looks).toEqual([`read ${blobPath(odd)}`, ...Array(2).fill(`read ${blobPath(SUBJECT)}`)])

    // A damaged disk must not tell collection that a blob is not needed.
    await world.index.stop()
    const level = new Level<string, string>(join(world.folder, 'index'))
    const value = (await level.get(`manifest!${formatDigest(digest)}`)) ?? ''
    await level.put(`manifest!${formatDigest(digest)}`, value.replace(layer.digest, digestOf('other')))
    await level.close()
    world.storage.looks.length = 0
    await world.restart()
    expect((await world.index.references(digest))?.blobs).toContain(layer.digest)
    expect(world.storage.looks).toEqual([`read ${blobPath(digest)}`])

    await world.storage.remove(blobPath(digest))
    await world.driver.remove(blobPath(digest))
    expect(await world.index.references(digest)).toBeUndefined()
  })

  it('is made anew when it is damaged', async () => {
    const referrer = await push('app', 'signature', { tag: 'v1', subject: SUBJECT })
    await follow('app')
    await world.restart(() => writeFile(join(world.folder, 'index', 'CURRENT'), 'no such manifest'))
    await follow('app')
    expect(await world.index.tags('app', 10)).toEqual(['v1'])
    expect(await referrersOf(world.index, 'app', SUBJECT)).toEqual([formatDigest(referrer)])
    expect(world.storage.looks).toEqual([])
  })

  it('is not shared by two processes', async () => {
    const other = new (await import('../../../src/listings/index-db.ts')).IndexDb(world.folder)
    await expect(other.start()).rejects.toMatchObject({
      code: 'DATA_FOLDER_UNUSABLE',
      message: expect.stringContaining('another process'),
    })
  })

  it('says what the storage says after any changes, in any order, with walks between', {
    timeout: 60_000,
  }, async () => {
    const repositories = ['a', 'a/b', 'a-b', 'c']
    const tags = ['1', '2', '3']
    const turns = new Turns()
    let state = 7
    const random = (below: number) => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
      return Math.floor((state / 2 ** 32) * below)
    }
    const pick = <T>(all: readonly T[]): T => all[random(all.length)] as T
    const pushed: Digest[] = []
    const act = async () => {
      const [repository, tag, roll] = [pick(repositories), pick(tags), random(10)]
      if (roll < 4) {
        const subject = random(2) === 0 ? undefined : pick(SUBJECTS)
        const seed = String(random(12))
        await turns.take(repository, async () => {
          const options = { ...(random(2) === 0 ? {} : { tag }), ...(subject && { subject }) }
          pushed.push(await push(repository, seed, options))
        })
      } else if (roll < 6) await turns.take(repository, () => world.manifests.untag(repository, tag))
      else if (roll < 8 && pushed.length > 0) {
        await turns.take(repository, () => world.manifests.remove(repository, pick(pushed)))
      } else if (roll === 8) world.index.forget(repository)
      else await allOf(world.index, [repository], SUBJECTS)
    }
    for (let round = 0; round < 60; round++) {
      await Promise.all(Array.from({ length: 1 + random(12) }, act))
      if (random(3) === 0) await world.index.settle()
      await expectSame(...repositories)
    }
    await follow(...repositories)
    await expectSame(...repositories)
    expect(world.storage.looks.length).toBeGreaterThan(0)
  })
})
