import { afterAll, beforeAll } from 'vitest'
import { AzureStore } from '../../src/storage/objects/azure.ts'
import { ObjectDriver } from '../../src/storage/objects/object-driver.ts'
import { describeDriver } from '../unit/storage/driver-compliance.ts'
import { type Azurite, startAzurite } from './azurite.ts'

let azurite: Azurite
beforeAll(async () => {
  azurite = await startAzurite()
}, 60_000)
afterAll(() => azurite.stop())

describeDriver(
  'a container of Azure',
  async () => {
    const { accountName, accountKey, endpoint } = azurite
    const { containerName: container } = await azurite.newContainer()
    const store = new AzureStore({ container, accountName, accountKey, endpoint, partMiB: 5 })
    return { driver: new ObjectDriver(store, 'root/'), dispose: async () => {} }
  },
  { isRemote: true },
)
