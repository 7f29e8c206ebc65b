import type { IncomingMessage, ServerResponse } from 'node:http'
import { digestOf, parseRange } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type FreshNode, startFreshNode } from '../kit/fresh-node.ts'
import { httpExpect } from '../kit/http.ts'
import { randomContent } from '../kit/random-content.ts'
import { MANIFEST_TYPE, ScriptedOrigin, sendBytes } from '../kit/scripted-origin.ts'
import { type Shoal, startShoal } from '../kit/shoal.ts'
import { createTestBed } from '../kit/test-bed.ts'

const ALICE = `Basic ${Buffer.from('alice:secret-a').toString('base64')}`
const MALLORY = `Basic ${Buffer.from('mallory:secret-m').toString('base64')}`
const ANY = [200, 206, 400, 401, 403, 404, 416, 429, 502, 503]
const SECRET = Buffer.concat([...randomContent('private layer', 3 * 1024 * 1024 + 17)])
const DIGEST = digestOf(SECRET)

/** What a client gets of a blob or manifest, whatever the status. */
async function get(url: string, authorization: string | undefined, range?: string) {
  const headers = {
    ...(authorization === undefined ? {} : { authorization }),
    ...(range === undefined ? {} : { range }),
  }
  try {
    return await httpExpect(url, ANY, { headers })
  } catch (error) {
    // An answer that breaks off half-way has given what it gave; httpExpect reads to the end or throws.
    if (error instanceof Error && 'code' in error && error.code === 'ECONNRESET')
      return { status: 0, body: Buffer.alloc(0) }
    throw error
  }
}

describe('a private layer that a node holds', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let origin: ScriptedOrigin
  let evil: ScriptedOrigin
  let warm: FreshNode
  let cold: FreshNode
  let imageDigest: string

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    origin = await ScriptedOrigin.start(bed)
    evil = await ScriptedOrigin.start(bed)
    origin.add('team-a/app', ALICE, [SECRET])
    imageDigest = origin.pushManifest('team-a/app', '1', [{ digest: DIGEST, size: SECRET.byteLength }])
    origin.add('team-b/app', MALLORY)
    const origins = [origin.registry, evil.registry]
    warm = await startFreshNode(bed, shoal, { origins })
    cold = await startFreshNode(bed, shoal, { origins })
    // Its owner has pulled it through one node, which holds it whole.
    const manifest = await httpExpect(`${warm.mirrorUrl}/v2/team-a/app/manifests/1?ns=${origin.registry}`, [200], {
      headers: { authorization: ALICE, accept: MANIFEST_TYPE },
    })
    expect(digestOf(manifest.body)).toBe(imageDigest)
    const pulled = await get(`${warm.mirrorUrl}/v2/team-a/app/blobs/${DIGEST}?ns=${origin.registry}`, ALICE)
    expect(pulled.status).toBe(200)
    expect(digestOf(pulled.body)).toBe(DIGEST)
  })
  afterAll(() => shoal?.stop())

  const nodes = () =>
    [
      ['the node that holds it', warm],
      ['a node that never had it', cold],
    ] as const

  test('is not given to a client whose own manifest names it in a repository that does not have it', async () => {
    const layer = {
      digest: DIGEST,
      size: SECRET.byteLength,
      mediaType: 'application/vnd.oci.image.layer.nondistributable.v1.tar+gzip',
    }
    origin.pushManifest('team-b/app', 'bait', [layer, { digest: DIGEST, size: SECRET.byteLength }])
    for (const [where, node] of nodes()) {
      const base = `${node.mirrorUrl}/v2/team-b/app`
      const bait = await get(`${base}/manifests/bait?ns=${origin.registry}`, MALLORY)
      expect(bait.status, where).toBe(200)
      for (const range of [undefined, 'bytes=0-99', 'bytes=-10']) {
        const answer = await get(`${base}/blobs/${DIGEST}?ns=${origin.registry}`, MALLORY, range)
        expect(answer.status, `${where}, ${range}`).toBe(404)
        expect(JSON.parse(answer.body.toString()).errors[0].code).toBe('BLOB_UNKNOWN')
      }
    }
    // The controls: the origin says the same, and the one who may read it still does.
    const direct = await get(`http://${origin.registry}/v2/team-b/app/blobs/${DIGEST}`, MALLORY)
    expect(direct.status).toBe(404)
    const owner = await get(`${cold.mirrorUrl}/v2/team-a/app/blobs/${DIGEST}?ns=${origin.registry}`, ALICE)
    expect(digestOf(owner.body)).toBe(DIGEST)
  })

  test('is not given to clients of a registry that only claims to have it', async () => {
    const noise = Buffer.concat([...randomContent('noise', SECRET.byteLength)])
    for (const size of [SECRET.byteLength, SECRET.byteLength + 1, 100]) {
      evil.instead = (request, response) => {
        if (request.method === 'HEAD')
          response.writeHead(200, { 'content-length': size, 'docker-content-digest': DIGEST }).end()
        else sendBytes(request, response, noise.subarray(0, Math.min(size, noise.byteLength)))
        return true
      }
      for (const [where, node] of nodes()) {
        for (const range of [undefined, 'bytes=0-99', `bytes=${SECRET.byteLength - 50}-`]) {
          const answer = await get(`${node.mirrorUrl}/v2/x/y/blobs/${DIGEST}?ns=${evil.registry}`, undefined, range)
          expect(leak(answer.body), `${where}, size ${size}, ${range}`).toBeUndefined()
        }
      }
    }
    const owner = await get(`${warm.mirrorUrl}/v2/team-a/app/blobs/${DIGEST}?ns=${origin.registry}`, ALICE)
    expect(digestOf(owner.body)).toBe(DIGEST)
  })

  test('has a manifest that is not given to clients of a registry that only claims to have it', async () => {
    evil.instead = (request, response) => {
      if (request.method === 'HEAD') {
        const headers = { 'docker-content-digest': imageDigest, 'content-type': MANIFEST_TYPE, 'content-length': 500 }
        response.writeHead(200, headers).end()
      } else response.writeHead(404).end()
      return true
    }
    for (const [where, node] of nodes()) {
      for (const reference of [imageDigest, 'latest']) {
        const answer = await get(`${node.mirrorUrl}/v2/x/y/manifests/${reference}?ns=${evil.registry}`, undefined)
        expect(answer.status, `${where}, ${reference}`).toBe(404)
        expect(answer.body.includes(DIGEST)).toBe(false)
      }
    }
  })

  test('keeps the media type that its own registry gave its manifest, whatever another one says', async () => {
    const bytes = origin.repositories.get('team-a/app')?.manifests.get('1') ?? Buffer.alloc(0)
    evil.instead = (request, response) => {
      sendBytes(request, response, bytes, 'text/plain')
      return true
    }
    const path = `manifests/${imageDigest}`
    for (const node of [cold, warm]) {
      await get(`${node.mirrorUrl}/v2/x/y/${path}?ns=${evil.registry}`, undefined)
      const answer = await httpExpect(`${node.mirrorUrl}/v2/team-a/app/${path}?ns=${origin.registry}`, [200], {
        headers: { authorization: ALICE },
      })
      expect(answer.headers['content-type']).toBe(MANIFEST_TYPE)
    }
  })
})

/** Where a run of the private bytes stands in what a client got. */
function leak(body: Buffer): number | undefined {
  for (let at = 0; at + 32 <= body.byteLength; at += 32) {
    const found = SECRET.indexOf(body.subarray(at, at + 32))
    if (found >= 0) return found
  }
  return undefined
}

describe('a part of a blob whose first fetcher was given other bytes', () => {
  const bed = createTestBed()
  let shoal: Shoal
  afterAll(() => shoal?.stop())

  test('is what the origin gives the client, not what the swarm passes on', async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    const content = Buffer.concat([...randomContent('right', 8 * 1024 * 1024)])
    const wrong = Buffer.concat([...randomContent('wrong', content.byteLength)])
    const digest = digestOf(content)
    const origin = await ScriptedOrigin.start(bed)
    origin.add('app', undefined, [content])
    // A stranger who takes the lease and reports the hashes of its own bytes looks like this to the swarm: the seed, which
    // comes without the client's credentials, is given other bytes, and the end of them never comes.
    origin.instead = (request, response) => {
      if (request.headers.authorization === ALICE || request.method === 'HEAD') return false
      sendAllButTheEnd(request, response, wrong)
      return true
    }
    await startFreshNode(bed, shoal, { role: 'seed', origins: [origin.registry] })
    const peer = await startFreshNode(bed, shoal, { origins: [origin.registry] })
    const url = `${peer.mirrorUrl}/v2/app/blobs/${digest}?ns=${origin.registry}`
    for (const [range, start, end] of [
      ['bytes=0-99', 0, 100],
      ['bytes=100000-100099', 100_000, 100_100],
      [`bytes=0-${3 * 1024 * 1024}`, 0, 3 * 1024 * 1024 + 1],
    ] as const) {
      const part = await get(url, ALICE, range)
      expect(part.status, range).toBe(206)
      expect(part.body.equals(content.subarray(start, end)), range).toBe(true)
    }
  })
})

/** Answers a request for bytes, but for the last 64 KiB of the blob, which it keeps to itself. */
function sendAllButTheEnd(request: IncomingMessage, response: ServerResponse, bytes: Buffer): void {
  const wanted = parseRange(request.headers.range, bytes.byteLength)
  const isPart = wanted.kind === 'part'
  const { start, end } = isPart ? wanted.range : { start: 0, end: bytes.byteLength - 1 }
  response.writeHead(isPart ? 206 : 200, {
    'content-length': end - start + 1,
    ...(isPart ? { 'content-range': `bytes ${start}-${end}/${bytes.byteLength}` } : {}),
  })
  const last = Math.min(end + 1, bytes.byteLength - 64 * 1024)
  if (start < last) response.write(bytes.subarray(start, last))
  if (last === end + 1) response.end()
}
