import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createLogger } from '@shoal/core'
import { Registry } from 'prom-client'
import { afterEach, beforeEach, expect, it, vi } from 'vitest'
import { ContentFolder } from '../../../src/runtime-content/folder.ts'
import { createRuntimeContentMetrics } from '../../../src/runtime-content/metrics.ts'
import { type Hashed, Verification } from '../../../src/runtime-content/verification.ts'
import { hashUnhurried } from '../../../src/workers/hashing.ts'
import { makeContent } from '../store/kit.ts'
import { commit } from './kit.ts'

const right = makeContent('layer', 700_000)
const wrong = Buffer.alloc(700_000, 'x')

let path: string
let folder: ContentFolder
let hashed: Hashed[]
let duringHash: () => Promise<void>
let verification: Verification
let stop: () => Promise<void>

beforeEach(async () => {
  path = await mkdtemp(join(tmpdir(), 'shoal-verification-'))
  folder = new ContentFolder(path)
  hashed = []
  duringHash = async () => {}
  const view = { folder: path, blobs: 0, bytes: 0, waitingBlobs: 0, waitingBytes: 0, wrongBlobs: 0 }
  verification = new Verification({
    folder,
    hasher: {
      hashUnhurried: async (file, size, algorithm, signal) => {
        const hashes = await hashUnhurried({ file, size, algorithm }, signal)
        await duringHash()
        return hashes
      },
    },
    hashed: async (of) => void hashed.push(of),
    metrics: createRuntimeContentMetrics(new Registry(), () => view),
    log: createLogger('test', 'silent'),
  })
  const stopping = new AbortController()
  const running = verification.run(stopping.signal)
  stop = async () => {
    stopping.abort()
    await running
  }
})
afterEach(async () => {
  await stop()
  await rm(path, { recursive: true })
})

async function addWhatIsThere(): Promise<void> {
  const stamp = await folder.stamp(right.digest)
  if (stamp === undefined) throw new Error('nothing was committed')
  verification.add(right.digest, stamp)
}

it('a file that changes while it is hashed is hashed once more when that is over', async () => {
  duringHash = async () => {
    duringHash = async () => {}
    await commit(path, wrong, right.digest)
    await addWhatIsThere()
  }
  await commit(path, right.bytes)
  await addWhatIsThere()
  await vi.waitFor(() => expect(verification.blobs).toBe(0))
  expect(hashed.map(({ isRight }) => isRight)).toEqual([true, false])
})

it('a file that is told of twice is hashed once, as it is then', async () => {
  duringHash = async () => {
    duringHash = async () => {}
    await addWhatIsThere()
  }
  await commit(path, wrong, right.digest)
  const stamp = await folder.stamp(right.digest)
  await commit(path, right.bytes)
  // What it was like before is of no account, though no more news of it comes.
  verification.add(right.digest, stamp ?? { size: 0, key: '' })
  await vi.waitFor(() => expect(verification.blobs).toBe(0))
  expect(hashed.map(({ isRight }) => isRight)).toEqual([true])
})

it('a file that is removed while it is hashed waits no more', async () => {
  duringHash = async () => {
    await rm(folder.file(right.digest))
    verification.remove(right.digest)
  }
  await commit(path, right.bytes)
  await addWhatIsThere()
  await vi.waitFor(() => expect(hashed).toHaveLength(1))
  await vi.waitFor(() => expect(verification.blobs).toBe(0))
})
