import { generateKeyPairSync } from 'node:crypto'
import { afterAll, beforeAll, describe } from 'vitest'
import { GcsStore } from '../../src/storage/objects/gcs.ts'
import { ObjectDriver } from '../../src/storage/objects/object-driver.ts'
import { areInstalled } from '../interop/tool.ts'
import { describeDriver } from '../unit/storage/driver-compliance.ts'
import { freePort, type ServerProcess, startProgram, untilAnswers } from './server.ts'

const PROGRAM = 'gcp-storage-emulator'
/** The emulator lets everybody do everything, but URLs are signed with a key. */
const key = {
  client_email: 'registry@example.org',
  private_key: String(
    generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }),
  ),
}

// Google gives out no server of its own: this is the one that speaks most of its protocol.
describe.runIf(areInstalled([PROGRAM]))("Google's object store", () => {
  let emulator: ServerProcess
  let endpoint: string
  let buckets = 0
  beforeAll(async () => {
    const port = await freePort()
    emulator = startProgram(PROGRAM, ['start', '--port', String(port), '--host', '127.0.0.1', '--in-memory', '--quiet'])
    endpoint = `http://127.0.0.1:${port}`
    await untilAnswers(endpoint)
  }, 60_000)
  afterAll(() => emulator.stop())

  describeDriver(
    'a bucket of Google',
    async () => {
      const bucket = `registry-${buckets++}`
      const response = await fetch(`${endpoint}/storage/v1/b`, {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: JSON.stringify({ name: bucket }),
      })
      if (!response.ok) throw new Error(`the emulator answered ${response.status} to a new bucket`)
      const store = new GcsStore({ bucket, endpoint, key, partMiB: 5 })
      return { driver: new ObjectDriver(store, 'root/'), dispose: async () => {} }
    },
    { isRemote: true },
  )
})
