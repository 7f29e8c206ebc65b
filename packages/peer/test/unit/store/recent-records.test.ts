import { createLogger } from '@shoal/core'
import { beforeEach, describe, expect, it } from 'vitest'
import { RecentRecords } from '../../../src/store/recent-records.ts'
import { MemoryTable } from './memory-table.ts'

const log = createLogger('test', 'silent')
const decode = (value: unknown) => (typeof value === 'number' ? value : undefined)
let table: MemoryTable
let nowMs = 0
const open = async (most = 3) => {
  const records = new RecentRecords<number>({ prefix: 'n!', most, decode }, { table, log, now: () => ++nowMs })
  await records.start()
  return records
}

beforeEach(() => {
  table = new MemoryTable()
})

describe('RecentRecords', () => {
  it('outlive the process, the newest of them, and never more than they may be', async () => {
    const records = await open()
    for (const [i, key] of ['z', 'b', 'c', 'd'].entries()) records.set(key, i)
    records.set('b', 10)
    expect(records.get('z')).toBeUndefined()
    await records.stop()
    expect([...table.values.keys()].sort()).toEqual(['n!b', 'n!c', 'n!d'])
    const again = await open()
    again.set('e', 5)
    expect(['b', 'c', 'd', 'e'].map((key) => again.get(key))).toEqual([10, undefined, 3, 5])
    await again.stop()
    const fewer = await open(1)
    expect(fewer.get('e')).toBe(5)
    await fewer.stop()
    expect([...table.values.keys()]).toEqual(['n!e'])
  })

  it('forget what is no record of theirs, and leave the records of others alone', async () => {
    table.values.set('n!torn', Buffer.from('{"setMs":'))
    table.values.set('n!text', Buffer.from('{"setMs":1,"value":"x"}'))
    table.values.set('m!other', Buffer.from('1'))
    const records = await open()
    expect(records.get('torn') ?? records.get('text')).toBeUndefined()
    await records.stop()
    expect([...table.values.keys()]).toEqual(['m!other'])
  })

  it('are known to this process although the disk is full', async () => {
    const records = await open()
    table.isFull = true
    records.set('a', 1)
    expect(records.get('a')).toBe(1)
    await records.stop()
    expect(table.values.size).toBe(0)
  })
})
