import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { BlobServiceClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { afterAll, beforeAll } from 'vitest'
import { AzureStore } from '../../src/storage/objects/azure.ts'
import { ObjectDriver } from '../../src/storage/objects/object-driver.ts'
import { describeDriver } from '../unit/storage/driver-compliance.ts'
import { freePort, type ServerProcess, startProgram, untilAnswers } from './server.ts'

const accountName = 'shoal'
const accountKey = randomBytes(64).toString('base64')
let azurite: ServerProcess
let endpoint: string
let containers = 0

beforeAll(async () => {
  const port = await freePort()
  const program = fileURLToPath(import.meta.resolve('azurite/dist/src/blob/main.js'))
  const settings = ['--silent', '--inMemoryPersistence', '--skipApiVersionCheck', '--disableTelemetry']
  azurite = startProgram(process.execPath, [program, '--blobPort', String(port), ...settings], {
    AZURITE_ACCOUNTS: `${accountName}:${accountKey}`,
  })
  endpoint = `http://127.0.0.1:${port}/${accountName}`
  await untilAnswers(endpoint)
}, 60_000)
afterAll(() => azurite.stop())

describeDriver(
  'a container of Azure',
  async () => {
    const container = `registry-${containers++}`
    const service = new BlobServiceClient(endpoint, new StorageSharedKeyCredential(accountName, accountKey))
    await service.createContainer(container)
    const store = new AzureStore({ container, accountName, accountKey, endpoint, partMiB: 5 })
    return { driver: new ObjectDriver(store, 'root/'), dispose: async () => {} }
  },
  { isRemote: true },
)
