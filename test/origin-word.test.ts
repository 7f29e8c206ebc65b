import { digestOf } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FreshNode, startFreshNode } from './kit/fresh-node.ts'
import { httpExpect } from './kit/http.ts'
import { randomContent } from './kit/random-content.ts'
import { MANIFEST_TYPE, ScriptedOrigin } from './kit/scripted-origin.ts'
import { type Shoal, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const ALICE = `Basic ${Buffer.from('alice:secret').toString('base64')}`
const CONTENT = Buffer.concat([...randomContent('content', 2 * 1024 * 1024)])
const DIGEST = digestOf(CONTENT)
const INDEX_TYPE = 'application/vnd.oci.image.index.v1+json'

/** What a node makes of what its origin says, and what it goes by when the origin says nothing. */
describe("the origin's word", () => {
  const bed = createTestBed()
  let shoal: Shoal
  let origin: ScriptedOrigin
  let folder: string
  let node: FreshNode

  const start = () =>
    startFreshNode(bed, shoal, { origins: [origin.registry], folder, mirror: { accessTtlMs: 0, tagTtlMs: 0 } })
  const url = (path: string) => `${node.mirrorUrl}/v2/${path}?ns=${origin.registry}`
  const as = (authorization: string | undefined, more: Record<string, string> = {}) => ({
    headers: { ...(authorization === undefined ? {} : { authorization }), ...more },
  })

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    origin = await ScriptedOrigin.start(bed)
    for (const [name, reader] of [
      ['private', ALICE],
      ['public', undefined],
    ] as const) {
      origin.add(name, reader, [CONTENT])
      origin.pushManifest(name, '1', [{ digest: DIGEST, size: CONTENT.byteLength }])
    }
    folder = await bed.folder('node')
    node = await start()
  })
  afterAll(() => shoal?.stop())

  test('that a client may no longer read stands, whatever the origin answers after it', async () => {
    const blob = url(`private/blobs/${DIGEST}`)
    const manifest = url('private/manifests/1')
    for (const what of [manifest, blob]) await httpExpect(what, [200], as(ALICE))
    // An origin that is away takes nothing back.
    origin.instead = (_, response) => !!response.writeHead(503).end()
    for (const what of [manifest, blob]) await httpExpect(what, [200], as(ALICE))
    origin.instead = (_, response) => !!response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end()
    for (const what of [manifest, blob]) await httpExpect(what, [401], as(ALICE))
    origin.instead = () => false
    for (const what of [manifest, blob]) await httpExpect(what, [200], as(ALICE))
    origin.instead = (_, response) => !!response.writeHead(403).end()
    for (const what of [manifest, blob]) await httpExpect(what, [403], as(ALICE))
    // The last one holds requests of this account back for as long as it says.
    for (const status of [503, 500, 429]) {
      origin.instead = (_, response) => !!response.writeHead(status, { 'retry-after': '60' }).end()
      for (const what of [manifest, blob]) {
        const answer = await httpExpect(what, [429, 503], as(ALICE))
        expect(digestOf(answer.body)).not.toBe(DIGEST)
      }
    }
    origin.instead = () => false
  })

  test('is asked of it for several ranges once, and conditions are those of HTTP', async () => {
    const blob = url(`public/blobs/${DIGEST}`)
    await httpExpect(blob, [200])
    const several = await httpExpect(blob, [206], as(undefined, { range: 'bytes=0-9,100-109,-5' }))
    const [, boundary] = /^multipart\/byteranges; boundary=(.+)$/.exec(several.headers['content-type'] ?? '') ?? []
    const parts = several.body.toString('latin1').split(`--${boundary}`)
    expect(parts).toHaveLength(5)
    expect(parts[2]).toContain(`content-range: bytes 100-109/${CONTENT.byteLength}`)
    expect(parts[2]?.endsWith(`\r\n\r\n${CONTENT.toString('latin1', 100, 110)}\r\n`)).toBe(true)
    expect(several.headers['content-length']).toBe(String(several.body.byteLength))
    const clamped = await httpExpect(blob, [206], as(undefined, { range: 'bytes=9-9223372036854775807' }))
    expect(clamped.body.equals(CONTENT.subarray(9))).toBe(true)
    await httpExpect(blob, [416], as(undefined, { range: `bytes=${CONTENT.byteLength}-` }))
    await httpExpect(blob, [304], as(undefined, { 'if-none-match': `"x", W/"${DIGEST}"` }))
    await httpExpect(blob, [200], as(undefined, { range: 'bytes=0-9', 'if-range': '"x"' }))
    await httpExpect(url('public/manifests/1'), [304], { method: 'HEAD', ...as(undefined, { 'if-none-match': '*' }) })
  })

  test('of before stands in while it is away: for any client that takes the tag, and after a restart', async () => {
    await httpExpect(url('public/manifests/1'), [200], as(undefined, { accept: MANIFEST_TYPE }))
    await httpExpect(url(`public/blobs/${DIGEST}`), [200])
    await node.program.stop()
    origin.instead = (_, response) => !!response.writeHead(503).end()
    node = await start()
    for (const accept of [MANIFEST_TYPE, INDEX_TYPE, '*/*', 'application/x']) {
      const manifest = await httpExpect(url('public/manifests/1'), [200], as(undefined, { accept }))
      expect(manifest.headers['content-type']).toBe(MANIFEST_TYPE)
    }
    const blob = await httpExpect(url(`public/blobs/${DIGEST}`), [200])
    expect(digestOf(blob.body)).toBe(DIGEST)
    // Nobody knows any more who may read what is private.
    await httpExpect(url(`private/blobs/${DIGEST}`), [429, 503], as(ALICE))
  })
})
