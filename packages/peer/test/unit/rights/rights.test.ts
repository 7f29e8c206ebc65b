import { createLogger, digestOf } from '@shoal/core'
import { OriginError } from '@shoal/origin'
import { beforeEach, describe, expect, it } from 'vitest'
import { Rights } from '../../../src/rights/rights.ts'
import { MemoryTable } from '../store/memory-table.ts'

const HOUR_MS = 60 * 60_000
const log = createLogger('test', 'silent')
const digest = digestOf('blob')
const where = { registry: 'r', repository: 'a' }
const alice = { ...where, authorization: 'Basic alice' }
const away = new OriginError('UNAVAILABLE', 'away')
const never = new AbortController().signal
let table: MemoryTable
let nowMs: number
let asked: number
/** What the origin answers. */
let answer: () => Promise<{ size: number }>

const open = async (): Promise<Rights> => {
  const headBlob = async () => {
    asked++
    return answer()
  }
  const rights = new Rights({ ttlMs: 10 }, { origin: { headBlob }, table, log, now: () => nowMs })
  await rights.start()
  return rights
}

beforeEach(() => {
  table = new MemoryTable()
  nowMs = 1000
  asked = 0
  answer = async () => ({ size: 17 })
})

describe('a yes of the origin', () => {
  it('holds for its time, for this repository and these credentials only', async () => {
    const rights = await open()
    rights.granted(alice)
    expect(rights.isGranted(alice)).toBe(true)
    for (const other of [where, { ...alice, repository: 'b' }, { ...alice, registry: 's' }]) {
      expect(rights.isGranted(other)).toBe(false)
      expect(rights.standsIn(other, away)).toBe(false)
    }
    nowMs += 10
    expect(rights.isGranted(alice)).toBe(false)
    expect(rights.standsIn(alice, away)).toBe(true)
    expect(rights.standsIn(alice, new OriginError('DENIED', 'no'))).toBe(false)
    nowMs += 24 * HOUR_MS
    expect(rights.standsIn(alice, away)).toBe(false)
  })

  it.each([
    ['UNAUTHORIZED', {}],
    ['DENIED', {}],
    ['NOT_FOUND', {}],
    ['PROTOCOL', { status: 451 }],
  ] as const)('is taken back by %s %o: an outage does not bring it back', async (code, data) => {
    const rights = await open()
    rights.granted(alice)
    rights.granted(where)
    rights.failed(alice, new OriginError(code, 'no', { data }))
    expect(rights.isGranted(alice)).toBe(false)
    rights.failed(where, new OriginError(code, 'no', { data }))
    expect(rights.standsIn(alice, away)).toBe(false)
    expect(rights.standsIn(where, away)).toBe(false)
  })

  it('is not taken back by an origin that is away', async () => {
    const rights = await open()
    rights.granted(alice)
    rights.failed(alice, away)
    rights.failed(alice, new Error('x'))
    expect(rights.isGranted(alice)).toBe(true)
  })

  it('to anybody outlives the process, and stands in for a client with credentials too; to one client it does not', async () => {
    const before = await open()
    before.granted(where)
    before.granted({ ...alice, repository: 'private' })
    await before.stop()
    const rights = await open()
    expect(rights.isGranted(where)).toBe(false)
    expect(rights.standsIn(where, away)).toBe(true)
    expect(rights.standsIn(alice, away)).toBe(true)
    expect(rights.standsIn({ ...alice, repository: 'private' }, away)).toBe(false)
    expect([...table.values.keys()]).toEqual(['public-repository!r/a'])
  })
})

describe('what is in a repository', () => {
  it('is asked once however many wait, and one who leaves does not end it for the others', async () => {
    const gate = Promise.withResolvers<{ size: number }>()
    answer = () => gate.promise
    const rights = await open()
    const leaving = new AbortController()
    const asking = [rights.confirm(alice, digest, never), rights.confirm(alice, digest, leaving.signal)]
    const others = rights.confirm(where, digest, never)
    leaving.abort(new Error('left'))
    await expect(asking[1]).rejects.toThrow('left')
    gate.resolve({ size: 17 })
    expect([await asking[0], await others]).toEqual([17, 17])
    expect(asked).toBe(2)
    expect(rights.isGranted(alice)).toBe(true)
    expect(rights.contents.find(where, digest)).toMatchObject({ size: 17, isProven: false })
    expect(rights.contents.find({ ...where, repository: 'b' }, digest)).toBeUndefined()
    expect(rights.contents.find({ ...where, registry: 's' }, digest)).toBeUndefined()
  })

  it('is forgotten when the origin does not have it any more, not when a client shows no credentials', async () => {
    const rights = await open()
    await rights.confirm(alice, digest, never)
    answer = async () => {
      throw new OriginError('UNAUTHORIZED', 'who?')
    }
    await expect(rights.confirm(where, digest, never)).rejects.toMatchObject({ code: 'UNAUTHORIZED' })
    expect(rights.contents.find(where, digest)).toBeDefined()
    expect(rights.isGranted(alice)).toBe(true)
    answer = async () => {
      throw new OriginError('NOT_FOUND', 'none')
    }
    await expect(rights.confirm(alice, digest, never)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(rights.contents.find(where, digest)).toBeUndefined()
    expect(rights.isGranted(alice)).toBe(false)
  })

  it('is asked again after a day', async () => {
    const { contents } = await open()
    contents.saw(where, digest, 17)
    const isFresh = () => contents.isFresh(contents.find(where, digest) ?? { size: 0, isProven: false, askedMs: 0 })
    expect(isFresh()).toBe(true)
    nowMs += 24 * HOUR_MS
    expect(isFresh()).toBe(false)
    // A clock that was set back says nothing of the age.
    nowMs = 0
    expect(isFresh()).toBe(false)
  })

  it('keeps its proof and its media type while the size is the same, over restarts', async () => {
    const before = await open()
    before.contents.proven(where, digest, 17)
    before.contents.saw(where, digest, 17)
    before.contents.sawManifest(where, digestOf('m'), { size: 5, mediaType: 'application/x' })
    before.contents.saw(where, digestOf('m'), 5)
    await before.stop()
    const { contents } = await open()
    expect(contents.isProven(where, digest)).toBe(true)
    expect(contents.find(where, digestOf('m'))).toMatchObject({ mediaType: 'application/x', isProven: true })
    contents.saw(where, digest, 18)
    expect(contents.isProven(where, digest)).toBe(false)
  })
})
