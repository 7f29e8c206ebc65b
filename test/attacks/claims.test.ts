import { digestOf } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FreshNode, startFreshNode } from '../kit/fresh-node.ts'
import { httpExpect } from '../kit/http.ts'
import { receivedBytes } from '../kit/network.ts'
import { randomContent } from '../kit/random-content.ts'
import { MANIFEST_TYPE, ScriptedOrigin } from '../kit/scripted-origin.ts'
import { type Shoal, startShoal } from '../kit/shoal.ts'
import { createTestBed } from '../kit/test-bed.ts'

const MIB = 1024 * 1024
const LAYER = Buffer.concat([...randomContent('shared layer', 3 * MIB)])
const DIGEST = digestOf(LAYER)
/** With its config. */
const IMAGE_BYTES = LAYER.byteLength + 2

/** What manifests say of layers is a claim of whoever pushed them. */
describe('a manifest', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let origin: ScriptedOrigin
  let first: FreshNode
  let folder: string
  let options: Readonly<Record<string, unknown>>
  let second: FreshNode

  const url = (node: FreshNode, path: string) => `${node.mirrorUrl}/v2/${path}?ns=${origin.registry}`
  const manifest = (node: FreshNode, repository: string, tag: string) =>
    httpExpect(url(node, `${repository}/manifests/${tag}`), [200], { headers: { accept: MANIFEST_TYPE } })

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    origin = await ScriptedOrigin.start(bed)
    options = { store: { quotaBytes: 64 * MIB, minFreeBytes: 0 } }
    await startFreshNode(bed, shoal, { role: 'seed', origins: [origin.registry], options })
    folder = await bed.folder('first')
    first = await startFreshNode(bed, shoal, { origins: [origin.registry], options, folder })
    second = await startFreshNode(bed, shoal, { origins: [origin.registry], options })
    for (const name of ['liar', 'honest']) origin.add(name, undefined, [LAYER])
    origin.pushManifest('liar', '1', [{ digest: DIGEST, size: LAYER.byteLength + 1 }])
    origin.pushManifest('honest', '1', [{ digest: DIGEST, size: LAYER.byteLength }])
  })
  afterAll(() => shoal?.stop())

  test('that says a wrong size for a layer harms no other repository, and costs no further copy', async () => {
    await manifest(first, 'liar', '1')
    await manifest(second, 'honest', '1')
    for (const [node, repository] of [
      [second, 'honest'],
      [first, 'honest'],
      [first, 'liar'],
    ] as const) {
      const { body } = await httpExpect(url(node, `${repository}/blobs/${DIGEST}`), [200])
      expect(digestOf(body)).toBe(DIGEST)
    }
    const received = await Promise.all([first, second].map(receivedBytes))
    // One copy came from the origin, to the seed: the nodes have theirs from it and from each other.
    expect(received.map(({ origin: bytes }) => bytes)).toEqual([0, 0])
    expect(received.map(({ peer, seed }) => peer + seed)).toEqual([IMAGE_BYTES, IMAGE_BYTES])
  })

  test('that makes layers up evicts nothing', async () => {
    const madeUp = Array.from({ length: 20 }, (_, i) => ({ digest: digestOf(`made up ${i}`), size: 50 * MIB }))
    origin.pushManifest('liar', 'flood', madeUp)
    const asked = () => madeUp.filter(({ digest }) => origin.asked.some((line) => line.includes(digest))).length
    await manifest(first, 'liar', 'flood')
    await expect.poll(asked, { timeout: 20_000 }).toBe(madeUp.length)
    const described = await httpExpect(`${first.adminUrl}/api/v1/node`, [200])
    expect(JSON.parse(described.body.toString()).store).toMatchObject({
      completeBytes: IMAGE_BYTES,
      partialBlobs: 0,
    })
  })

  test('of which there are very many leaves the node within its quota, able to start again', async () => {
    const { repositories } = origin
    const bytes = (i: number) => Buffer.from(JSON.stringify({ schemaVersion: 2, i, padding: 'x'.repeat(1024 * 1024) }))
    const repository = repositories.get('liar')
    for (let i = 0; i < 20; i++) {
      const one = bytes(i)
      repository?.manifests.set(digestOf(one), one)
      await manifest(first, 'liar', digestOf(one))
    }
    for (let i = 0; i < 200; i++) {
      await httpExpect(url(first, 'honest/manifests/1'), [200], { headers: { accept: `${MANIFEST_TYPE}, x/${i}` } })
    }
    const described = await httpExpect(`${first.adminUrl}/metrics`, [200])
    const kept = /^shoal_store_manifest_bytes (\d+)$/m.exec(described.body.toString())?.[1]
    expect(Number(kept)).toBeGreaterThan(0)
    expect(Number(kept)).toBeLessThanOrEqual(6.4 * MIB)
    await first.program.stop()
    first = await startFreshNode(bed, shoal, { origins: [origin.registry], options, folder })
    const { body } = await httpExpect(url(first, `honest/blobs/${DIGEST}`), [200])
    expect(digestOf(body)).toBe(DIGEST)
  })
})
