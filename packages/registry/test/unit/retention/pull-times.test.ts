import { rm } from 'node:fs/promises'
import { createLogger } from '@shoal/core'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { LevelPullShelf } from '../../../src/retention/pull-shelf.ts'
import { PullTimes } from '../../../src/retention/pull-times.ts'
import { temporaryFolder } from '../../running-registry.ts'

const log = createLogger('test', 'silent')
let dataDir: string
let nowMs: number
const open = async () => {
  const pulls = new PullTimes(new LevelPullShelf(dataDir, () => nowMs), { log, now: () => nowMs })
  await pulls.start()
  return pulls
}
beforeEach(async () => {
  dataDir = await temporaryFolder()
  nowMs = 1000
})
afterEach(() => rm(dataDir, { recursive: true }))

it('remembers the last pull of each manifest, over a restart too', async () => {
  const pulls = await open()
  nowMs = 2000
  pulls.note('app', 'sha256:a')
  nowMs = 3000
  pulls.note('app', 'sha256:a')
  pulls.note('lib', 'sha256:a')
  expect(await pulls.pulledAtMs('app', 'sha256:a', 1500)).toBe(3000)
  expect(await pulls.pulledAtMs('app', 'sha256:b', 1500)).toBeUndefined()
  await pulls.stop()
  nowMs = 4000
  const again = await open()
  expect(await again.pulledAtMs('app', 'sha256:a', 1500)).toBe(3000)
  await again.forget('app', 'sha256:a')
  expect(await again.pulledAtMs('app', 'sha256:a', 1500)).toBeUndefined()
  expect(await again.pulledAtMs('lib', 'sha256:a', 1500)).toBe(3000)
  await again.stop()
})

it('takes what was pushed before it began to count for pulled then', async () => {
  const pulls = await open()
  expect(await pulls.pulledAtMs('app', 'sha256:a', 999)).toBe(1000)
  await pulls.stop()
  nowMs = 5000
  const again = await open()
  expect(await again.pulledAtMs('app', 'sha256:a', 999)).toBe(1000)
  await again.stop()
})

it('refuses a folder that another process uses, saying what to do', async () => {
  const pulls = await open()
  await expect(open()).rejects.toThrow('another process uses them')
  await pulls.stop()
})
