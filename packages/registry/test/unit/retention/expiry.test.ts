import { formatDigest, MEDIA_TYPES } from '@shoal/core'
import { beforeEach, expect, it } from 'vitest'
import { Collection, type CollectionOptions } from '../../../src/gc/collection.ts'
import { TagExpiry } from '../../../src/retention/expiry.ts'
import type { RetentionPolicy } from '../../../src/retention/options.ts'
import { Policies } from '../../../src/retention/policies.ts'
import { World } from '../gc/world.ts'

const HOUR_MS = 3_600_000
const OPTIONS: CollectionOptions = { graceMs: HOUR_MS, untagged: 'remove', isDryRun: false }

let world: World
let removed: string[]
let forgotten: string[]
/** By digest. */
let pulledAtMs: Map<string, number>
beforeEach(() => {
  world = new World()
  removed = []
  forgotten = []
  pulledAtMs = new Map()
})

function collect(policies: readonly RetentionPolicy[], options = OPTIONS) {
  const { driver, manifests, turns, uses, now } = world
  const pulls = {
    pulledAtMs: async (_repository: string, digest: string) => pulledAtMs.get(digest),
    forget: async (repository: string, digest: string) => void forgotten.push(`${repository}@${digest}`),
  }
  const expiry = new TagExpiry({
    driver,
    manifests,
    turns,
    pulls,
    removed: async (repository, tag) => void removed.push(`${repository}:${tag}`),
  })
  const retention = { policies: new Policies(policies), expiry, pulls }
  return new Collection(options, { driver, uses, turns, now, retention }).run(new AbortController().signal)
}

const tagsOf = (repository: string) => world.manifests.tags(repository, 100)
const keepV: RetentionPolicy[] = [{ repositories: ['app'], keepTags: [{ patterns: ['v.*'] }] }]

it('removes the tags that no rule keeps, and then what only they kept', async () => {
  await world.image('app', 'one', {}, 'v1')
  const test = await world.image('app', 'two', {}, 'test')
  await world.image('other', 'three', {}, 'test')
  world.aheadMs = 2 * HOUR_MS
  const collected = await collect(keepV)
  expect(collected).toMatchObject({ removedTags: 1, removedManifests: 1, removedLayers: 2, removedBlobs: 3 })
  expect(removed).toEqual(['app:test'])
  expect(forgotten).toEqual([`app@${formatDigest(test)}`])
  expect(await tagsOf('app')).toEqual(['v1'])
  expect(await tagsOf('other')).toEqual(['test'])
})

it('says in a dry run what it would do, down to the bytes, and does nothing', async () => {
  await world.image('app', 'one', {}, 'test')
  world.aheadMs = 2 * HOUR_MS
  const dry = await collect(keepV, { ...OPTIONS, isDryRun: true })
  expect(await tagsOf('app')).toEqual(['test'])
  expect(removed).toEqual([])
  const wet = await collect(keepV)
  expect(dry).toEqual(wet)
  expect(dry).toMatchObject({ removedTags: 1, removedManifests: 1, removedBlobs: 3 })
})

it('leaves a tag alone that was pushed within the grace', async () => {
  await world.image('app', 'one', {}, 'test')
  expect(await collect(keepV)).toMatchObject({ removedTags: 0 })
  expect(await tagsOf('app')).toEqual(['test'])
})

it('lets a policy say what becomes of untagged manifests', async () => {
  for (const repository of ['app', 'other']) await world.image(repository, repository)
  world.aheadMs = 2 * HOUR_MS
  const policies: RetentionPolicy[] = [{ repositories: ['other'], untagged: 'keep' }]
  expect(await collect(policies)).toMatchObject({ removedTags: 0, removedManifests: 1 })
})

it('keeps untagged manifests, and all they need, that were pushed or pulled lately', async () => {
  const pulled = await world.image('app', 'pulled')
  const child = await world.image('app', 'child')
  const listed = { mediaType: MEDIA_TYPES.ociManifest, digest: formatDigest(child), size: 100 }
  const index = await world.manifest('app', { mediaType: MEDIA_TYPES.ociIndex, manifests: [listed] })
  await world.image('app', 'idle')
  const keepDay: RetentionPolicy[] = [
    { repositories: ['app'], untagged: 'remove', keepUntagged: { pulledWithinHours: 24 } },
  ]
  world.aheadMs = 30 * HOUR_MS
  for (const digest of [pulled, index]) pulledAtMs.set(formatDigest(digest), world.now() - 23 * HOUR_MS)
  expect(await collect(keepDay)).toMatchObject({ removedManifests: 1, removedLayers: 2 })
  world.aheadMs += 2 * HOUR_MS
  const pushedLately: RetentionPolicy[] = [
    { ...keepDay[0], repositories: ['app'], keepUntagged: { pushedWithinHours: 40 } },
  ]
  expect(await collect(pushedLately)).toMatchObject({ removedManifests: 0 })
  expect(await collect(keepDay)).toMatchObject({ removedManifests: 3, removedLayers: 4 })
})

it('keeps the tags of signatures as long as what they are about', async () => {
  const image = await world.image('app', 'one', {}, 'v1')
  const gone = await world.image('app', 'two', {}, 'test')
  await world.image('app', 'signature', {}, `sha256-${image.hex}.sig`)
  await world.image('app', 'list', {}, `sha256-${gone.hex}`)
  world.aheadMs = 2 * HOUR_MS
  await collect(keepV)
  expect(await tagsOf('app')).toEqual([`sha256-${image.hex}.sig`, `sha256-${gone.hex}`, 'v1'].sort())
  world.aheadMs = 4 * HOUR_MS
  await collect(keepV)
  expect(await tagsOf('app')).toEqual([`sha256-${image.hex}.sig`, 'v1'])
})

it('does not remove a tag that is pushed again while it is being judged', async () => {
  await world.image('app', 'one', {}, 'test')
  world.aheadMs = 2 * HOUR_MS
  const { resolve } = world.manifests
  let looks = 0
  world.manifests.resolve = async function (repository, reference) {
    const digest = await resolve.call(this, repository, reference)
    // After the first look, which is the judgement.
    if ('tag' in reference && ++looks === 1) await world.image('app', 'new', {}, 'test')
    return digest
  }
  expect(await collect(keepV)).toMatchObject({ removedTags: 0 })
  expect(await tagsOf('app')).toEqual(['test'])
})
