import { rm } from 'node:fs/promises'
import { FilesystemDriver } from '../../../src/storage/filesystem.ts'
import { temporaryFolder } from '../../running-registry.ts'
import { describeDriver } from './driver-compliance.ts'

describeDriver('FilesystemDriver', async () => {
  const folder = await temporaryFolder()
  return { driver: new FilesystemDriver(folder), dispose: () => rm(folder, { recursive: true }) }
})
