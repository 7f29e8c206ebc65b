import { rm } from 'node:fs/promises'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { EventReceiver } from '../event-receiver.ts'
import { content, pushBlob, temporaryFolder } from '../running-registry.ts'
import { RegistryChild } from './registry-child.ts'

const child = new RegistryChild()
const receiver = new EventReceiver()
let dataDir: string
beforeEach(async () => {
  dataDir = await temporaryFolder()
  await receiver.start()
})
afterEach(async () => {
  await child.kill()
  await receiver.stop()
  await rm(dataDir, { recursive: true })
})

it('killed at any moment, it tells at least once of every push that it confirmed, and none before an earlier one', async () => {
  const hook = { url: receiver.url, timeoutMs: 30_000, backoffMs: 5 }
  const options = { notifications: { endpoints: { hook } } }
  const confirmed: string[] = []
  for (const [round, killAfter] of [1, 4, 8].entries()) {
    // In the first round nothing gets through, in the second each answer may be lost to the kill.
    receiver.status = round === 0 ? 503 : 200
    const url = await child.start(dataDir, options)
    const end = confirmed.length + killAfter
    while (confirmed.length < end) {
      confirmed.push(await pushBlob(url, 'app', content(`round ${round} ${confirmed.length}`, 1000)))
    }
    await child.kill()
  }
  receiver.status = 200
  await child.start(dataDir, options)
  const firstTime = () => [...new Set(receiver.taken.map(({ target }) => target.digest))]
  await expect.poll(firstTime, { timeout: 20_000 }).toEqual(confirmed)
})
