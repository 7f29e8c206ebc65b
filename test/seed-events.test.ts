import { appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { buildArtifact } from './kit/images.ts'
import { describeWith } from './kit/missing.ts'
import { MOST_PROOF_BYTES, originBytes, receivedBytes, registryName } from './kit/network.ts'
import { type Launched, launch } from './kit/process.ts'
import { livingAmong } from './kit/process-table.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { randomContent } from './kit/random-content.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const BLOB_BYTES = 4 * 1024 * 1024
const EVENTS = 'http://127.0.0.1:7494/events'
const SECRET = 'an e2e secret'

describeWith(['busybox'], 'a seed that a registry tells of pushes', () => {
  const bed = createTestBed()
  const restarted: Launched[] = []
  let shoal: Shoal

  afterEach(async () => {
    for (const each of restarted.splice(0)) await each.stop()
    await shoal.stop()
  })

  const restartWith = async (service: string, { pid, config }: { pid: number; config: string }, yaml: string) => {
    process.kill(pid, 'SIGTERM')
    await expect.poll(() => livingAmong([pid]), { timeout: 30_000 }).toEqual([])
    await appendFile(config, yaml)
    restarted.push(await launch(service, process.execPath, [SHOAL_PROGRAM, service, '--config', config]))
  }

  test('has the blobs before anybody pulls, and takes events only with the secret', async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    const [seed] = shoal.seeds as [ShoalNode]
    const secretFile = join(await bed.folder('secret'), 'secret')
    await writeFile(secretFile, `${SECRET}\n`)
    const registry = registryName(shoal)
    const intake = `{ enabled: true, registry: "${registry}", secretFile: ${secretFile} }`
    await restartWith('seed', seed, `\nevents: ${intake}\n`)
    const hook = `{ url: "${EVENTS}", headers: { authorization: Bearer ${SECRET} }, timeoutMs: 30000, backoffMs: 100 }`
    await restartWith('registry', shoal.registry, `\nnotifications: { endpoints: { seed: ${hook} } }\n`)
    const isReady = async (url: string) => (await fetch(`${url}/readyz`).catch(() => undefined))?.status === 200
    await expect.poll(() => isReady(shoal.registry.metricsUrl), { timeout: 30_000 }).toBe(true)
    await expect.poll(() => isReady(seed.adminUrl), { timeout: 30_000 }).toBe(true)

    const content = Buffer.concat([...randomContent('seed-events', BLOB_BYTES)])
    await pushLayout(shoal.registry.url, 'app', '1', await buildArtifact(await bed.folder('app'), [content]))
    const fetched = async () => (await receivedBytes(seed)).origin
    await expect.poll(fetched, { timeout: 30_000 }).toBeGreaterThanOrEqual(BLOB_BYTES)

    const left = await originBytes(shoal)
    const [peer] = shoal.peers as [ShoalNode]
    await pullImage(peer.mirrorUrl, 'app', '1', { namespace: registry })
    expect((await originBytes(shoal)) - left).toBeLessThanOrEqual(MOST_PROOF_BYTES)

    const post = (headers: Record<string, string>, body: string) => fetch(EVENTS, { method: 'POST', headers, body })
    expect((await post({}, '{"events":[]}')).status).toBe(401)
    expect((await post({ authorization: 'Bearer another' }, '{"events":[]}')).status).toBe(401)
    const allowed = { authorization: `Bearer ${SECRET}` }
    expect((await post(allowed, '{"events":[]}')).status).toBe(200)
    expect((await post(allowed, '{"events":[{}]}')).status).toBe(400)
    expect((await post(allowed, ' '.repeat(2 * 1024 * 1024))).status).toBe(413)
  })
})
