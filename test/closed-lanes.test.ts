import { createHash } from 'node:crypto'
import { afterAll, describe, expect, test } from 'vitest'
import { httpExpect } from './kit/http.ts'
import { buildArtifact } from './kit/images.ts'
import { nodeMetric, originBytes, receivedBytes, registryName } from './kit/network.ts'
import { pushLayout } from './kit/push-layout.ts'
import { randomContent } from './kit/random-content.ts'
import { type Shoal, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024

describe('nodes that do not reach each other’s lanes', () => {
  const bed = createTestBed()
  let shoal: Shoal

  afterAll(() => shoal.stop())

  test('bring each other every piece over libp2p, and leave the origin alone', async () => {
    // Where they say that their lanes are, nobody listens.
    shoal = await startShoal(bed, { nodes: 2, env: { SHOAL_LANE_ADVERTISE_HOST: '127.0.0.2' } })
    const content = Buffer.concat([...randomContent('closed', 15 * MIB)])
    const artifact = await buildArtifact(await bed.folder('artifact'), [content])
    await pushLayout(shoal.registry.url, 'closed', '1', artifact)
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
    const pulls = shoal.peers.map(async ({ mirrorUrl }) => {
      const url = `${mirrorUrl}/v2/closed/blobs/${digest}?ns=${registryName(shoal)}`
      return (await httpExpect(url, [200])).body
    })
    for (const body of await Promise.all(pulls)) expect(body.equals(content)).toBe(true)
    // One copy, and at most a few pieces more.
    expect(await originBytes(shoal)).toBeLessThanOrEqual(content.length + MIB)
    for (const peer of shoal.peers) {
      const { origin, peer: fromPeers, seed } = await receivedBytes(peer)
      // Of a piece that comes late the origin is asked too.
      expect(origin).toBeLessThanOrEqual(MIB)
      expect(origin + fromPeers + seed).toBe(content.length)
      const bytes = (transport: string) =>
        nodeMetric(peer, 'shoal_lane_bytes_total', { direction: 'received', transport })
      expect(await bytes('tls')).toBe(0)
      expect(await bytes('libp2p')).toBeGreaterThanOrEqual(content.length - MIB)
      expect(await nodeMetric(peer, 'shoal_lane_unreachable_nodes')).toBeGreaterThan(0)
    }
  })
})
