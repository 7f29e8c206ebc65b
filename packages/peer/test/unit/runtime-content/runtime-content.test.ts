import { chmod, mkdir, mkdtemp, rm, symlink, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger, digestOf, PieceLayout } from '@shoal/core'
import type { Registry } from 'prom-client'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { RuntimeContent } from '../../../src/runtime-content/runtime-content.ts'
import type { BlobStore } from '../../../src/store/store.ts'
import { hashUnhurried } from '../../../src/workers/hashing.ts'
import { makeContent, makeStore, metricOf, sha256 } from '../store/kit.ts'
import { commit, containerdFile, makeRuntimeContent } from './kit.ts'

const layer = makeContent('layer', 1_400_000)
const manifest = makeContent('manifest', 500)

let dataDir: string
let folder: string
let store: BlobStore
let content: RuntimeContent
let registry: Registry
let events: string[]
/** Files that were hashed. */
let hashed: string[]
let beforeHash: () => Promise<void>
let afterHash: () => Promise<void>

async function open(options: { rescanMs?: number; folder?: string } = {}): Promise<void> {
  store = makeStore(dataDir).store
  await store.start()
  events = []
  hashed = []
  const made = makeRuntimeContent(options.folder ?? folder, store.index, {
    hasher: {
      hashUnhurried: async (file, size, algorithm, signal) => {
        hashed.push(file)
        await beforeHash()
        const hashes = await hashUnhurried({ file, size, algorithm }, signal)
        await afterHash()
        return hashes
      },
    },
    listener: {
      found: ({ digest, size }) => events.push(`found ${digest} ${size}`),
      vanished: (digest) => events.push(`vanished ${digest}`),
    },
    ...(options.rescanMs === undefined ? {} : { rescanMs: options.rescanMs }),
  })
  ;({ content, registry } = made)
  await content.start()
}

async function close(): Promise<void> {
  await content.stop()
  await store.stop()
}

const fileOf = (digest: string) => containerdFile(folder, digest)
const untilServed = (digest: string) => vi.waitFor(() => expect(content.find(digest)).toBeDefined())

beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'shoal-runtime-'))
  folder = join(dataDir, 'containerd')
  beforeHash = async () => {}
  afterHash = async () => {}
})
afterEach(async () => {
  await close()
  await rm(dataDir, { recursive: true })
})

describe('RuntimeContent', () => {
  it('serves what containerd holds, once it was verified, with its piece map', async () => {
    await commit(folder, layer.bytes)
    await commit(folder, manifest.bytes)
    await open()
    expect(content.find(layer.digest)).toBeUndefined()
    await untilServed(layer.digest)
    await untilServed(manifest.digest)
    const blob = content.find(layer.digest)
    expect(blob).toMatchObject({ file: fileOf(layer.digest), size: 1_400_000, isComplete: true })
    expect(blob?.have.isComplete).toBe(true)
    const layout = new PieceLayout(1_400_000)
    const pieces = [0, 1, 2].map((piece) => {
      return sha256(layer.bytes.subarray(layout.offset(piece), layout.offset(piece) + layout.length(piece)))
    })
    expect(Buffer.concat(pieces).equals((await content.pieceMap(layer.digest)) ?? new Uint8Array())).toBe(true)
    expect(Buffer.from((await content.pieceMap(manifest.digest)) ?? [])).toEqual(sha256(manifest.bytes))
    expect(events.sort()).toEqual([`found ${layer.digest} 1400000`, `found ${manifest.digest} 500`].sort())
    expect(content.view()).toMatchObject({ folder, blobs: 2, bytes: 1_400_500, waitingBlobs: 0, wrongBlobs: 0 })
    expect(await metricOf(registry, 'shoal_runtime_content_blobs', { state: 'served' })).toBe(2)
    expect(await metricOf(registry, 'shoal_runtime_content_verified_bytes_total')).toBe(1_400_500)
  })

  it('takes sha512 and empty blobs too', async () => {
    const long = digestOf(layer.bytes, 'sha512')
    const empty = digestOf('')
    await commit(folder, layer.bytes, long)
    await commit(folder, Buffer.alloc(0))
    await open()
    await untilServed(long)
    await untilServed(empty)
    expect(content.find(empty)?.size).toBe(0)
  })

  it('sees at once what is committed and what is garbage collected', async () => {
    await mkdir(join(folder, 'blobs/sha256'), { recursive: true })
    await open()
    await commit(folder, layer.bytes)
    await untilServed(layer.digest)
    await rm(fileOf(layer.digest))
    await vi.waitFor(() => expect(content.find(layer.digest)).toBeUndefined())
    expect(events).toEqual([`found ${layer.digest} 1400000`, `vanished ${layer.digest}`])
    expect(await content.pieceMap(layer.digest)).toBeUndefined()
    await commit(folder, layer.bytes)
    await untilServed(layer.digest)
    expect(hashed).toHaveLength(2)
  })

  it('finds by reading the folder again what nobody told of', async () => {
    await commit(folder, layer.bytes)
    await open({ rescanMs: 20 })
    await untilServed(layer.digest)
    // The folder is another one now: what was watched is silent.
    await rm(join(folder, 'blobs'), { recursive: true })
    await commit(folder, manifest.bytes)
    await untilServed(manifest.digest)
    await vi.waitFor(() => expect(content.find(layer.digest)).toBeUndefined())
  })

  it('never serves a file that is not the blob of its name, and hashes it once', async () => {
    const wrong = Buffer.from(layer.bytes)
    wrong[400_000] = (wrong[400_000] ?? 0) ^ 1
    await commit(folder, wrong, layer.digest)
    await open()
    await vi.waitFor(() => expect(content.view().wrongBlobs).toBe(1))
    // News of the same file, looked at before the next.
    await chmod(fileOf(layer.digest), 0o400)
    await commit(folder, manifest.bytes)
    await untilServed(manifest.digest)
    expect(hashed.filter((file) => file === fileOf(layer.digest))).toHaveLength(1)
    expect(content.find(layer.digest)).toBeUndefined()
    expect(events).toEqual([`found ${manifest.digest} 500`])
    expect(await metricOf(registry, 'shoal_runtime_content_verified_blobs_total', { result: 'wrong' })).toBe(1)
    await commit(folder, layer.bytes)
    await untilServed(layer.digest)
    expect(content.view().wrongBlobs).toBe(0)
  })

  it('reads no file again after a restart, but those that changed', async () => {
    await commit(folder, layer.bytes)
    await commit(folder, manifest.bytes)
    await open()
    await untilServed(layer.digest)
    await untilServed(manifest.digest)
    const map = await content.pieceMap(layer.digest)
    await close()
    await utimes(fileOf(manifest.digest), new Date(), new Date(0))
    await open()
    await untilServed(layer.digest)
    await untilServed(manifest.digest)
    expect(hashed).toEqual([fileOf(manifest.digest)])
    expect(await content.pieceMap(layer.digest)).toEqual(map)
  })

  it('withdraws a file that is changed in place, and verifies it anew', async () => {
    await commit(folder, layer.bytes)
    await open()
    await untilServed(layer.digest)
    await writeFile(fileOf(layer.digest), Buffer.alloc(1_400_000, 'x'))
    await vi.waitFor(() => expect(content.view().wrongBlobs).toBe(1))
    expect(events.at(-1)).toBe(`vanished ${layer.digest}`)
    expect(content.find(layer.digest)).toBeUndefined()
  })

  it('does not serve a file that took the place of the one that was hashed', async () => {
    afterHash = async () => {
      afterHash = async () => {}
      await commit(folder, Buffer.alloc(1_400_000, 'x'), layer.digest)
    }
    await commit(folder, layer.bytes)
    await open({ rescanMs: 20 })
    await vi.waitFor(() => expect(content.view().wrongBlobs).toBe(1))
    expect(events).toEqual([])
    expect(hashed).toHaveLength(2)
  })

  it('forgets records of blobs that went while it was stopped', async () => {
    await commit(folder, layer.bytes)
    await commit(folder, manifest.bytes)
    await open()
    await untilServed(layer.digest)
    await untilServed(manifest.digest)
    await close()
    await rm(fileOf(layer.digest))
    await open()
    await vi.waitFor(async () => {
      expect(await Array.fromAsync(store.index.keys('content!'))).toEqual([`content!${manifest.digest}`])
    })
    expect(events).toEqual([`found ${manifest.digest} 500`])
  })

  it('looks at nothing that is not a committed blob', async () => {
    await commit(folder, manifest.bytes)
    const outside = join(dataDir, 'outside')
    await writeFile(outside, layer.bytes)
    await symlink(outside, fileOf(layer.digest))
    await writeFile(fileOf(manifest.digest).slice(0, -1), 'short')
    await mkdir(fileOf(digestOf('folder')))
    await open()
    await untilServed(manifest.digest)
    expect(content.view()).toMatchObject({ blobs: 1, waitingBlobs: 0, wrongBlobs: 0 })
    expect(hashed).toEqual([fileOf(manifest.digest)])
  })

  it('keeps the piece map itself when the index can not take it', async () => {
    await mkdir(folder)
    await open({ rescanMs: 20 })
    vi.spyOn(store.index, 'put').mockRejectedValue(new Error('disk full'))
    await commit(folder, layer.bytes)
    await untilServed(layer.digest)
    expect((await content.pieceMap(layer.digest))?.byteLength).toBe(3 * 32)
  })

  it('stops in the middle of a file', async () => {
    await commit(folder, layer.bytes)
    const begun = Promise.withResolvers<void>()
    beforeHash = async () => begun.resolve()
    await open()
    await begun.promise
    await content.stop()
    expect(events).toEqual([])
  })
})

describe('the folder', () => {
  it('may appear later', async () => {
    await open({ rescanMs: 20 })
    expect(content.view()).toMatchObject({ folder, blobs: 0 })
    await commit(folder, layer.bytes)
    await untilServed(layer.digest)
  })

  it('is not read when the option is empty', async () => {
    await open({ folder: '' })
    expect(content.view()).toMatchObject({ folder: '', blobs: 0 })
  })

  it.each([
    ['another folder', () => mkdir(join(folder, 'io.containerd.content.v1.content'), { recursive: true }), /neither/],
    ['a file', () => writeFile(folder, ''), /can not read .* \(ENOTDIR\): run the node as a user/],
  ])('is refused at the start when it is %s', async (_what, make, message) => {
    await make()
    await expect(open()).rejects.toThrow(message)
    await expect(content.start()).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
  })

  it('is logged when it is missing', async () => {
    const log = createLogger('test', 'silent')
    const warn = vi.spyOn(log, 'warn')
    await open({ folder: '' })
    const { content: late } = makeRuntimeContent(folder, store.index, {
      hasher: { hashUnhurried: () => Promise.reject(new Error('nothing is there')) },
      listener: { found: () => {}, vanished: () => {} },
      log,
    })
    await late.start()
    await late.stop()
    expect(warn).toHaveBeenCalledWith({ folder }, expect.stringContaining('store.containerdContent'))
  })
})
