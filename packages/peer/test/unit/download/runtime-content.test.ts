import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { HeldBlobs } from '../../../src/lane/held-blobs.ts'
import { NodeBlobs } from '../../../src/runtime-content/node-blobs.ts'
import { commit, containerdFile } from '../runtime-content/kit.ts'
import { putBlob } from '../store/kit.ts'
import { content, digest, layout, request, source, World } from './world.ts'

const never = new AbortController().signal
let folder: string
let world: World
let blobs: NodeBlobs

const untilServed = () => vi.waitFor(() => expect(world.runtime.find(digest)).toBeDefined())
const untilGone = () => vi.waitFor(() => expect(world.runtime.find(digest)).toBeUndefined())
const remove = () => rm(containerdFile(folder, digest))

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-containerd-'))
  await mkdir(join(folder, 'blobs/sha256'), { recursive: true })
  world = await World.open(undefined, folder)
  blobs = new NodeBlobs(world.store, world.runtime)
})
afterEach(async () => {
  await world.remove()
  await rm(folder, { recursive: true })
})

describe('a blob that only containerd holds', () => {
  beforeEach(async () => {
    await commit(folder, content)
    await untilServed()
  })

  it('is offered, served to clients without a download or a second copy, and withdrawn when it goes', async () => {
    expect(world.heard).toEqual([`holding ${content.byteLength}`])
    expect(world.published).toEqual([digest])
    world.downloads.announce([request])
    expect((await world.read()).equals(content)).toBe(true)
    expect(world.downloads.summaries()).toEqual([])
    expect(world.store.find(digest)).toBeUndefined()
    expect([blobs.find(digest)?.size, [...blobs.complete()].length]).toEqual([content.byteLength, 1])
    await remove()
    await untilGone()
    expect(world.heard).toEqual([`holding ${content.byteLength}`, 'withdrawn'])
  })

  it('is said again to a new scheduler, with its piece map when that is asked for', async () => {
    expect([...world.downloads.wholeBlobs()]).toEqual([{ digest, size: content.byteLength }])
    world.downloads.pieceMapWanted(digest)
    const map = `map ${content.byteLength} ${layout.count * 32}`
    await vi.waitFor(() => expect(world.heard).toEqual([`holding ${content.byteLength}`, map]))
  })

  it('is answered for when a lease or an assignment of it comes', () => {
    world.downloads.leased({ digest, size: content.byteLength, origin: source, firstPiece: 0, pieceCount: 1 })
    world.assign(2)
    expect(world.heard.slice(1)).toEqual([`holding ${content.byteLength}`, 'done 2 p1'])
  })

  it('goes on to be read, by clients and neighbours, when its file vanishes meanwhile', async () => {
    const held = new HeldBlobs(async (which) => {
      const blob = blobs.find(which)
      return blob && { file: blob.file, size: blob.size, have: blob.haveBuffer }
    })
    const lane = await held.acquire(digest)
    const reader = await world.downloads.open(request, never)
    const reading = reader.read({ start: 0, end: content.byteLength - 1 }, never)
    const chunks = [Buffer.from((await reading.next()).value ?? [])]
    await remove()
    await untilGone()
    held.forget(digest)
    for await (const chunk of reading) chunks.push(Buffer.from(chunk))
    await reader.close()
    expect(Buffer.concat(chunks).equals(content)).toBe(true)
    expect(lane?.have.isComplete).toBe(true)
    if (lane !== undefined) held.release(lane)
    expect(await held.acquire(digest)).toBeUndefined()
  })

  it('is fetched when its file is gone before that was noticed', async () => {
    await world.runtime.stop()
    await remove()
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard.at(-1)).toBe('join 00'))
    expect(world.heard.slice(-2)).toEqual(['withdrawn', 'join 00'])
    for (let piece = 0; piece < layout.count; piece++) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    expect(world.store.find(digest)?.isComplete).toBe(true)
  })

  it('is not touched when the store discards its own', async () => {
    await blobs.discard(digest)
    expect(blobs.find(digest)?.isComplete).toBe(true)
  })
})

describe('a blob that containerd and the store hold', () => {
  beforeEach(async () => {
    await putBlob(world.store, content)
    await commit(folder, content)
    await untilServed()
  })

  it('is one, and stays held when either goes', async () => {
    expect([...blobs.complete()].map(({ file }) => file)).toEqual([world.store.find(digest)?.file])
    expect(blobs.find(digest)).toBe(world.store.find(digest))
    await world.store.discard(digest)
    world.downloads.withdrawn(digest)
    expect(world.heard).not.toContain('withdrawn')
    expect((await world.read()).equals(content)).toBe(true)
    await remove()
    await untilGone()
    expect(world.heard.at(-1)).toBe('withdrawn')
  })

  it('stays held in the store when containerd gives it up', async () => {
    await remove()
    await untilGone()
    expect(world.heard).not.toContain('withdrawn')
    expect((await world.read()).equals(content)).toBe(true)
  })

  it("is read from containerd's file when the store's is gone", async () => {
    await rm(world.store.find(digest)?.file ?? '')
    expect((await world.read()).equals(content)).toBe(true)
    expect(world.heard).not.toContain('withdrawn')
    expect(blobs.find(digest)?.file).toBe(containerdFile(folder, digest))
  })
})

describe('a blob that containerd gets while it is downloaded', () => {
  it('is offered only when the download ends without it', async () => {
    world.parents.set('p1', content)
    const download = await world.downloads.want(request)
    world.assign(0)
    await vi.waitFor(() => expect(world.heard).toContain('done 0 p1'))
    await commit(folder, content)
    await untilServed()
    expect(world.heard).toEqual(['join 00', 'done 0 p1'])
    download.stop()
    await vi.waitFor(() =>
      expect(world.heard).toEqual(['join 00', 'done 0 p1', 'leave', `holding ${content.byteLength}`]),
    )
    expect(world.published).toEqual([digest])
  })

  it('comes to its end as ever', async () => {
    world.parents.set('p1', content)
    const reading = world.read()
    await vi.waitFor(() => expect(world.heard).toEqual(['join 00']))
    await commit(folder, content)
    await untilServed()
    await remove()
    await untilGone()
    for (let piece = 0; piece < layout.count; piece++) world.assign(piece)
    expect((await reading).equals(content)).toBe(true)
    expect(world.heard.filter((event) => !event.startsWith('done'))).toEqual(['join 00'])
  })
})
