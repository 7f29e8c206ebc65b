import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { afterEach, describe, expect, test } from 'vitest'
import { httpExpect } from './kit/http.ts'
import { registryName } from './kit/network.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024

describe('lists through a mirror', () => {
  const bed = createTestBed()
  let shoal: Shoal

  afterEach(() => shoal.stop())

  test('come page by page, by whatever words the registry has for its pages', async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    const { url } = shoal.registry
    const config = Buffer.from('{}')
    const described = { mediaType: MEDIA_TYPES.ociEmpty, digest: digestOf(config), size: config.length }
    await httpExpect(`${url}/v2/app/blobs/uploads/?digest=${described.digest}`, [201], { method: 'POST', body: config })
    const push = async (reference: string, more: object) => {
      const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config: described, layers: [], ...more }
      const body = Buffer.from(JSON.stringify(manifest))
      const headers = { 'content-type': MEDIA_TYPES.ociManifest }
      const at = `${url}/v2/app/manifests/${reference === '' ? digestOf(body) : reference}`
      await httpExpect(at, [201], { method: 'PUT', body, headers })
      return { mediaType: MEDIA_TYPES.ociManifest, digest: digestOf(body), size: body.length }
    }
    const tags = ['a', 'b', 'c', 'd', 'e']
    for (const tag of tags) await push(tag, {})
    const subject = await push('image', {})
    const referrers: string[] = []
    // More than go on one page.
    for (const seed of ['1', '2', '3']) {
      const annotations = { seed, text: 'x'.repeat(2.5 * MIB) }
      referrers.push((await push('', { artifactType: 'example/sbom', annotations, subject })).digest)
    }

    const [peer] = shoal.peers as [ShoalNode]
    const ns = `ns=${registryName(shoal)}`
    const pagesOf = async (path: string): Promise<Record<string, unknown>[]> => {
      const { body, headers } = await httpExpect(
        `${peer.mirrorUrl}${path}${path.includes('?') ? '&' : '?'}${ns}`,
        [200],
      )
      const [, next] = /^<([^>]+)>/.exec(String(headers.link ?? '')) ?? []
      return [JSON.parse(body.toString()), ...(next === undefined ? [] : await pagesOf(next))]
    }
    const tagPages = (await pagesOf('/v2/app/tags/list?n=2')) as { tags: string[] }[]
    expect(tagPages.map((page) => page.tags)).toEqual([
      ['a', 'b'],
      ['c', 'd'],
      ['e', 'image'],
    ])
    const pages = (await pagesOf(`/v2/app/referrers/${subject.digest}?artifactType=example%2Fsbom`)) as {
      manifests: { digest: string }[]
    }[]
    expect(pages).toHaveLength(3)
    expect(pages.flatMap(({ manifests }) => manifests.map(({ digest }) => digest))).toEqual(referrers.sort())
  })
})
