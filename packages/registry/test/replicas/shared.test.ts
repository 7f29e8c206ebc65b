import { setTimeout } from 'node:timers/promises'
import { createLogger, type Digest, digestOf, parseDigest } from '@shoal/core'
import { createMetricsRegistry, resolveConfig } from '@shoal/core/service'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import { Collection } from '../../src/gc/collection.ts'
import { registryService } from '../../src/index.ts'
import { createReplicaMetrics } from '../../src/replicas/metrics.ts'
import { Redis } from '../../src/replicas/redis.ts'
import { createReplicas, type Replicas } from '../../src/replicas/replicas.ts'
import { SharedHolds, SharedTurns } from '../../src/replicas/shared-turns.ts'
import { BlobStore } from '../../src/storage/blobs.ts'
import { MemoryDriver } from '../../src/storage/memory.ts'
import { blobPath } from '../../src/storage/paths.ts'
import { UploadStore } from '../../src/storage/uploads.ts'
import { areInstalled, requireTool } from '../interop/tool.ts'
import { content } from '../running-registry.ts'
import { type RedisServer, startRedis } from './redis-server.ts'

const HOUR_MS = 3_600_000
const log = createLogger('registry', 'silent')

describe.runIf(areInstalled(['redis-server']))('what replicas share', () => {
  let server: RedisServer
  let prefixes = 0
  let keyPrefix = 'first:'
  const running: { stop(): Promise<void> }[] = []
  beforeAll(async () => {
    server = await startRedis(requireTool('redis-server', { skip: () => expect.unreachable() }))
  })
  afterAll(() => server.stop())
  afterEach(async () => {
    for (const each of running.splice(0)) await each.stop()
    keyPrefix = `${prefixes++}:`
  })

  async function connect(): Promise<Redis> {
    const metrics = createReplicaMetrics(createMetricsRegistry())
    const redis = await Redis.create({ url: server.url, keyPrefix }, { metrics, log })
    running.push(redis)
    await redis.start()
    return redis
  }

  async function join(): Promise<Replicas> {
    const redis = { url: server.url, keyPrefix }
    const options = { dataDir: '', storage: { driver: 's3' }, gc: { graceHours: 1 }, replicas: { redis } } as const
    const replicas = await createReplicas(options, { metrics: createMetricsRegistry(), log })
    running.push(replicas)
    await replicas.start()
    return replicas
  }

  describe('turns', () => {
    it('are one at a time over all replicas', async () => {
      const replicas = [await join(), await join(), await join()]
      let [working, done] = [0, 0]
      const work = (replica: Replicas) =>
        replica.turns.take('app', async ({ isMine }) => {
          expect(++working).toBe(1)
          expect(isMine).toBe(true)
          await setTimeout(1)
          working--
          done++
        })
      await Promise.all(Array.from({ length: 60 }, (_, i) => work(replicas[i % 3] as Replicas)))
      expect(done).toBe(60)
    })

    it('do not wait for those of other names', async () => {
      const [one, two] = [await join(), await join()]
      const gate = Promise.withResolvers<void>()
      const slow = one.turns.take('slow', () => gate.promise)
      expect(await two.turns.take('fast', async () => 'done')).toBe('done')
      gate.resolve()
      await slow
    })

    it('pass on from work that fails, and from a replica that dies', async () => {
      const [one, two] = [await join(), await join()]
      await expect(one.turns.take('app', () => Promise.reject(new Error('no')))).rejects.toThrow('no')
      expect(await two.turns.take('app', async () => 'next')).toBe('next')

      const dying = new SharedHolds(await connect(), { holdMs: 300 })
      expect(await dying.tryTake('repository:app')).toBeDefined()
      // Nobody renews it from now on.
      await running.at(-1)?.stop()
      const beganMs = performance.now()
      expect(await two.turns.take('app', async () => 'next')).toBe('next')
      expect(performance.now() - beganMs).toBeGreaterThan(100)
    })

    it('are given up by who waits for too long', async () => {
      const holds = new SharedHolds(await connect())
      await holds.tryTake('repository:app')
      const turns = new SharedTurns(holds, 'repository', 100)
      const taken = turns.take('app', async () => expect.unreachable())
      await expect(taken).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    })
  })

  describe('holds', () => {
    it('last as long as they are renewed', async () => {
      const [one, two] = [await connect(), await connect()].map((redis) => new SharedHolds(redis, { holdMs: 300 }))
      const hold = await one?.tryTake('collection')
      await setTimeout(700)
      expect(hold?.isMine).toBe(true)
      expect(await two?.tryTake('collection')).toBeUndefined()
      await hold?.release()
      expect(await two?.tryTake('collection')).toBeDefined()
    })

    it('are known to be lost before somebody else can have them', async () => {
      const redis = await connect()
      const hold = await new SharedHolds(redis, { holdMs: 600 }).tryTake('collection')
      const beganMs = performance.now()
      await redis.stop()
      await vi.waitFor(() => expect(hold?.isMine).toBe(false), { interval: 10 })
      expect(performance.now() - beganMs).toBeLessThan(600)
      await vi.waitFor(() => expect(hold?.lost.aborted).toBe(true))
    })

    it('that somebody took away are lost', async () => {
      const redis = await connect()
      const hold = await new SharedHolds(redis, { holdMs: 300 }).tryTake('collection')
      await redis.run((client) => client.set('hold:collection', 'another'))
      await vi.waitFor(() => expect(hold?.lost.aborted).toBe(true))
      await hold?.release()
      expect(await redis.run((client) => client.get('hold:collection'))).toBe('another')
    })
  })

  describe('uses', () => {
    const digest = parseDigest(digestOf('content'))
    const other = parseDigest(digestOf('other'))

    it('are known to all', async () => {
      const [one, two] = [await join(), await join()]
      await one.uses.note(other)
      await setTimeout(10)
      const sinceMs = Date.now()
      expect(await two.uses.usedSince(digest, sinceMs)).toBe(false)
      await one.uses.note(digest)
      expect(await two.uses.usedSince(digest, sinceMs)).toBe(true)
      expect(await two.uses.usedSince(digest, Date.now() + 1000)).toBe(false)
      expect(await two.uses.usedSince(other, sinceMs)).toBe(false)
    })

    it('from before anybody counted may have been', async () => {
      const one = await join()
      await one.uses.note(other)
      expect(await one.uses.usedSince(digest, Date.now() - HOUR_MS)).toBe(true)
    })

    it('that could not be told may have been, for all', async () => {
      const [one, two] = [await join(), await join()]
      await one.uses.note(other)
      await setTimeout(10)
      const sinceMs = Date.now()
      expect(await two.uses.usedSince(digest, sinceMs)).toBe(false)
      await server.stop()
      await one.uses.note(digest)
      await expect(one.uses.link(digest, async () => expect.unreachable())).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      })
      await server.start()
      await vi.waitFor(async () => expect(await two.uses.usedSince(digest, sinceMs)).toBe(true), { timeout: 5000 })
    })

    it('that are forgotten may have been', async () => {
      const redis = await connect()
      const one = await join()
      for (let i = 0; i < 10; i++) {
        await one.uses.note(parseDigest(digestOf(`content ${i}`)))
        await setTimeout(2)
      }
      const keys = ['uses', 'uses-since']
      await redis.run((client) => client.trimUses(keys, ['0', '4']))
      expect(await redis.run((client) => client.zCard('uses'))).toBe(4)
      const sinceMs = Number(await redis.run((client) => client.get('uses-since')))
      expect(await one.uses.usedSince(digest, sinceMs - 1)).toBe(true)
      expect(await one.uses.usedSince(digest, sinceMs)).toBe(false)
      expect(await one.uses.usedSince(parseDigest(digestOf('content 9')), sinceMs)).toBe(true)
      await redis.run((client) => client.trimUses(keys, [String(Date.now() + 1000), '4']))
      expect(await redis.run((client) => client.zCard('uses'))).toBe(0)
    })
  })

  it('keeps a content that one replica links to while another one is about to remove it', async () => {
    const [one, two] = [await join(), await join()]
    const bytes = content('layer', 1000)
    const digest = parseDigest(digestOf(bytes))
    const reached = Promise.withResolvers<void>()
    class SlowDriver extends MemoryDriver {
      override async remove(path: string) {
        if (blobPath(digest).startsWith(`${path}/`)) {
          reached.resolve()
          await setTimeout(300)
        }
        return super.remove(path)
      }
    }
    const storage = new SlowDriver(2 ** 20)
    const push = async (replica: Replicas, repository: string): Promise<Digest> => {
      const uploads = new UploadStore(storage, new BlobStore(storage, replica.uses), { received: () => {} })
      const id = await uploads.start(repository)
      await uploads.commit(repository, id, digest, { body: [bytes] as unknown as AsyncIterable<Uint8Array> })
      return digest
    }
    await push(one, 'app')
    await new BlobStore(storage, one.uses).unlink('app', digest)
    // It was pushed long ago, and nobody has asked for it since.
    const aheadMs = 2 * HOUR_MS
    const collection = new Collection(
      { graceMs: HOUR_MS, untagged: 'remove', isDryRun: false },
      { driver: storage, uses: one.uses, turns: one.turns, now: () => Date.now() + aheadMs },
    )
    const collected = collection.run(new AbortController().signal)
    await reached.promise
    await push(two, 'app')
    expect((await collected).removedBlobs).toBe(1)
    expect(await new BlobStore(storage, two.uses).sizeOf('app', digest)).toBe(1000)
  })

  it('is no folder, and no memory', async () => {
    const options = { dataDir: '', gc: { graceHours: 1 }, replicas: { redis: { url: server.url, keyPrefix } } }
    for (const driver of ['filesystem', 'memory'] as const) {
      const created = createReplicas({ ...options, storage: { driver } }, { metrics: createMetricsRegistry(), log })
      await expect(created).rejects.toMatchObject({ code: 'CONFIG_INVALID' })
    }
  })

  it('is asked for by a URL that holds no secret', () => {
    const resolve = (url: string) =>
      resolveConfig(registryService.schema, [{ source: 'test', values: { replicas: { redis: { url } } } }])
    expect(() => resolve('redis://:secret@redis:6379')).toThrow('replicas.redis.url')
    expect(() => resolve('http://redis:6379')).toThrow('replicas.redis.url')
    expect(resolve('rediss://redis:6379/2').values).toMatchObject({
      replicas: { redis: { url: 'rediss://redis:6379/2' } },
    })
  })
})
