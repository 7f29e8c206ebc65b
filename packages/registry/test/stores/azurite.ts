import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { BlobServiceClient, type ContainerClient, StorageSharedKeyCredential } from '@azure/storage-blob'
import { freePort, startProgram, untilAnswers } from './server.ts'

/** A running Azurite, which keeps all in memory. */
export interface Azurite {
  readonly endpoint: string
  readonly accountName: string
  readonly accountKey: string
  newContainer(): Promise<ContainerClient>
  stop(): Promise<void>
}

export async function startAzurite(): Promise<Azurite> {
  const accountName = 'shoal'
  const accountKey = randomBytes(64).toString('base64')
  const port = await freePort()
  const program = fileURLToPath(import.meta.resolve('azurite/dist/src/blob/main.js'))
  const settings = ['--silent', '--inMemoryPersistence', '--skipApiVersionCheck', '--disableTelemetry']
  const server = startProgram(process.execPath, [program, '--blobPort', String(port), ...settings], {
    AZURITE_ACCOUNTS: `${accountName}:${accountKey}`,
  })
  const endpoint = `http://127.0.0.1:${port}/${accountName}`
  await untilAnswers(endpoint)
  const service = new BlobServiceClient(endpoint, new StorageSharedKeyCredential(accountName, accountKey))
  let containers = 0
  const newContainer = async () => {
    const name = `registry-${containers++}`
    await service.createContainer(name)
    return service.getContainerClient(name)
  }
  return { endpoint, accountName, accountKey, newContainer, stop: server.stop }
}
