import { expect, it } from 'vitest'
import { MemoryDriver } from '../../../src/storage/memory.ts'
import { describeDriver } from './driver-compliance.ts'

describeDriver('the memory', async () => ({ driver: new MemoryDriver(64 * 1024 * 1024), dispose: async () => {} }))

it('refuses what does not fit, and has room again for what was removed or replaced', async () => {
  const driver = new MemoryDriver(100)
  await driver.write('a/x', Buffer.alloc(60))
  await expect(driver.write('a/y', Buffer.alloc(60))).rejects.toThrow('is full')
  await driver.write('a/x', Buffer.alloc(30))
  await driver.write('a/y', Buffer.alloc(60))
  await driver.remove('a')
  const appender = await driver.append('b')
  await appender.write([Buffer.alloc(100)])
  await expect(appender.write([Buffer.alloc(1)])).rejects.toThrow('is full')
  expect(appender.offset).toBe(100)
})
