import { rm } from 'node:fs/promises'
import { expect, it, onTestFinished } from 'vitest'
import { FilesystemDriver } from '../../../src/storage/filesystem.ts'
import { temporaryFolder } from '../../running-registry.ts'
import { describeDriver } from './driver-compliance.ts'

const MIB = 1024 * 1024

describeDriver('FilesystemDriver', async () => {
  const folder = await temporaryFolder()
  return { driver: new FilesystemDriver(folder), dispose: () => rm(folder, { recursive: true }) }
})

it('leaves what a reader that went early may still be sending as it is', async () => {
  const folder = await temporaryFolder()
  onTestFinished(() => rm(folder, { recursive: true }))
  const driver = new FilesystemDriver(folder)
  const open = async (path: string) => (await driver.open(path)) ?? expect.fail(`there is no ${path}`)
  const range = { start: 0, end: 3 * MIB - 1 }
  for (const name of ['a', 'b']) await driver.write(name, Buffer.alloc(3 * MIB, name))

  const [left, next] = [await open('a'), await open('b')]
  let sending: Uint8Array | undefined
  for await (const chunk of left.chunks(range)) {
    sending = chunk
    break
  }
  for await (const _ of next.chunks(range)) {
    // Its bytes go through the driver's buffers.
  }
  expect(Buffer.alloc(MIB, 'a').equals(sending ?? expect.fail('nothing was read'))).toBe(true)
  await Promise.all([left.close(), next.close()])
})
