import { writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { createServer as createTlsServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { digestOf } from '@shoal/core'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  makeCertificate,
  makeFolder,
  missingRegistry,
  push,
  type RunningRegistry,
  removeFolder,
  signToken,
  startRegistry,
} from './docker-registry.ts'
import { clientFor, collect, makeBlob, NEVER } from './fixtures.ts'

const missing = missingRegistry()
if (missing !== undefined) process.stderr.write(`tests with Distribution are skipped: ${missing}\n`)

const REPOSITORY = 'team/app'
const BLOB = makeBlob(1_500_000)
const TYPE = 'application/vnd.oci.image.manifest.v1+json'
const CONFIG = Buffer.from('{}')
const MANIFEST = Buffer.from(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: TYPE,
    config: { mediaType: 'application/vnd.oci.image.config.v1+json', digest: digestOf(CONFIG), size: CONFIG.length },
    layers: [{ mediaType: 'application/vnd.oci.image.layer.v1.tar', digest: BLOB.digest, size: BLOB.size }],
  }),
)
const PULL_SECRET = `Basic ${Buffer.from('puller:right horse').toString('base64')}`
const WRONG_SECRET = `Basic ${Buffer.from('puller:wrong').toString('base64')}`
/** bcrypt of `right horse`, cost 5. */
const HTPASSWD = 'puller:$2y$05$abcdefghijklmnopqrstuuB05BVy0V7KomGh8K56xgiHLq3Wkqh46\n'

describe.skipIf(missing !== undefined)('Distribution', () => {
  let folder: string
  let open: RunningRegistry
  let withToken: RunningRegistry
  let withPassword: RunningRegistry
  let tokenServer: Server
  let certificate: { certificate: string; certFile: string; key: string }
  const tokenRequests: { authorization: string | undefined; url: URL }[] = []

  beforeAll(async () => {
    folder = await makeFolder()
    certificate = await makeCertificate(folder)
    // The account may pull; anonymous requests are given a token that allows nothing, as Docker Hub does.
    tokenServer = createServer((request, response) => {
      const url = new URL(request.url ?? '/', 'http://x')
      const { authorization } = request.headers
      tokenRequests.push({ authorization, url })
      if (authorization !== undefined && authorization !== PULL_SECRET) {
        response.writeHead(401).end('{"errors":[]}')
        return
      }
      const service = url.searchParams.get('service') ?? ''
      const scope = authorization === undefined ? 'repository:none:' : (url.searchParams.get('scope') ?? '')
      const subject = url.searchParams.get('account') ?? ''
      const token = signToken(certificate, { service, subject, scope, lifetimeS: 300 })
      response.end(JSON.stringify({ token, expires_in: 300 }))
    })
    await new Promise<void>((resolve) => tokenServer.listen(0, '127.0.0.1', resolve))
    const realm = `http://127.0.0.1:${(tokenServer.address() as AddressInfo).port}/token`
    const htpasswd = join(folder, 'htpasswd')
    await writeFile(htpasswd, HTPASSWD)
    ;[open, withToken, withPassword] = await Promise.all([
      startRegistry(folder),
      startRegistry(
        folder,
        `  token: {realm: '${realm}', service: test-service, issuer: test-issuer, rootcertbundle: ${certificate.certFile}}`,
      ),
      startRegistry(folder, `  htpasswd: {realm: test, path: ${htpasswd}}`),
    ])
    await push(open, REPOSITORY, BLOB.bytes)
    await push(open, REPOSITORY, CONFIG)
    await push(open, REPOSITORY, MANIFEST, 'v1')
  })

  afterAll(async () => {
    await Promise.all([open?.stop(), withToken?.stop(), withPassword?.stop()])
    await new Promise((resolve) => tokenServer?.close(resolve))
    await removeFolder(folder)
  })

  const clients = (settings: { username?: string; password?: string } = {}) =>
    clientFor({
      open: { url: open.url },
      token: { url: withToken.url, ...settings },
      password: { url: withPassword.url, ...settings },
    })
  const at = (registry: string, authorization?: string) => ({
    registry,
    repository: REPOSITORY,
    signal: NEVER,
    ...(authorization === undefined ? {} : { authorization }),
  })
  const range = { digest: BLOB.digest, size: BLOB.size, start: 100_000, end: 1_399_999 }
  const rangeBytes = BLOB.bytes.subarray(range.start, range.end + 1)

  it('gives manifests, heads, 304s, blobs, ranges and tags', async () => {
    const client = clients()
    const manifest = await client.getManifest({ ...at('open'), reference: 'v1' })
    expect(manifest).toMatchObject({ status: 200, bytes: MANIFEST, mediaType: TYPE, digest: digestOf(MANIFEST) })
    const ifNoneMatch = manifest.etag
    expect(ifNoneMatch).toBeDefined()
    expect(await client.getManifest({ ...at('open'), reference: 'v1', ifNoneMatch })).toMatchObject({ status: 304 })
    expect(await client.headManifest({ ...at('open'), reference: digestOf(MANIFEST) })).toMatchObject({
      status: 200,
      mediaType: TYPE,
      sizeBytes: MANIFEST.length,
    })
    expect(await client.headBlob({ ...at('open'), digest: BLOB.digest })).toEqual({ size: BLOB.size })
    const part = await collect(client, { ...at('open'), ...range })
    expect(part.bytes.equals(rangeBytes)).toBe(true)
    expect(part.rangesIgnored).toBe(false)
    const whole = await collect(client, { ...at('open'), ...range, start: 0, end: BLOB.size - 1 })
    expect(digestOf(whole.bytes)).toBe(BLOB.digest)
    const tags = await client.listTags(at('open'))
    expect(JSON.parse(tags.bytes.toString())).toEqual({ name: REPOSITORY, tags: ['v1'] })
  })

  it('says what it does not have', async () => {
    const client = clients()
    const gone = { ...at('open'), digest: digestOf('gone') }
    await expect(client.headBlob(gone)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(collect(client, { ...gone, start: 0, end: 9, size: 10 })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await expect(client.getManifest({ ...at('open'), reference: 'v2' })).rejects.toMatchObject({ code: 'NOT_FOUND' })
    // Distribution 2.8 knows no referrers.
    await expect(client.getReferrers({ ...at('open'), digest: BLOB.digest })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
    const tooLarge = { ...at('open'), digest: BLOB.digest, start: 0, end: BLOB.size + 4, size: BLOB.size + 5 }
    await expect(collect(client, tooLarge)).rejects.toMatchObject({ code: 'SIZE_MISMATCH' })
  })

  it.each(['token', 'password'])("takes the client's credentials: %s", async (registry) => {
    const client = clients()
    const { bytes } = await collect(client, { ...at(registry, PULL_SECRET), ...range })
    expect(bytes.equals(rangeBytes)).toBe(true)
    expect(await client.getManifest({ ...at(registry, PULL_SECRET), reference: 'v1' })).toMatchObject({ status: 200 })
  })

  it.each(['token', 'password'])('takes configured credentials: %s', async (registry) => {
    const client = clients({ username: 'puller', password: 'right horse' })
    const { bytes } = await collect(client, { ...at(registry), ...range })
    expect(bytes.equals(rangeBytes)).toBe(true)
  })

  it.each([
    ['token', /^Bearer realm="http:.*service="test-service",scope="repository:team\/app:pull"/],
    ['password', /^Basic realm="test"$/],
  ])('refuses wrong credentials and none, with its challenge: %s', async (registry, challenge) => {
    const client = clients()
    for (const authorization of [WRONG_SECRET, undefined, 'Bearer wrong']) {
      await expect(client.headBlob({ ...at(registry, authorization), digest: BLOB.digest })).rejects.toMatchObject({
        code: 'UNAUTHORIZED',
        challenges: [expect.stringMatching(challenge)],
      })
    }
  })

  it('takes a token that the client fetched itself', async () => {
    const scope = `repository:${REPOSITORY}:pull`
    const token = signToken(certificate, { service: 'test-service', subject: 'x', scope, lifetimeS: 60 })
    const head = clients().headBlob({ ...at('token', `Bearer ${token}`), digest: BLOB.digest })
    expect(await head).toEqual({ size: BLOB.size })
  })

  it('is asked for one token for many ranges, and another when that has expired', async () => {
    let now = Date.now()
    const client = clientFor({ token: { url: withToken.url } }, { now: () => now })
    const count = tokenRequests.length
    const ranges = Array.from({ length: 12 }, (_, i) => ({ start: i * 100_000, end: i * 100_000 + 99_999 }))
    const fetchAll = () =>
      Promise.all(ranges.map((part) => collect(client, { ...at('token', PULL_SECRET), ...range, ...part })))
    const parts = await fetchAll()
    expect(Buffer.concat(parts.map(({ bytes }) => bytes)).equals(BLOB.bytes.subarray(0, 1_200_000))).toBe(true)
    await fetchAll()
    expect(tokenRequests.length - count).toBe(1)
    now += 300_000
    await fetchAll()
    expect(tokenRequests.length - count).toBe(2)
  })

  describe('over TLS', () => {
    const secure = async (handler: (port: number) => Promise<void>) => {
      const server = createTlsServer({ cert: certificate.certificate, key: certificate.key }, (_request, response) =>
        response.writeHead(200, { 'content-length': 5 }).end(),
      )
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
      try {
        await handler((server.address() as AddressInfo).port)
      } finally {
        server.closeAllConnections()
        await new Promise((resolve) => server.close(resolve))
      }
    }

    it('a certificate is verified, by caFile or not at all as configured', async () => {
      await secure(async (port) => {
        const url = `https://127.0.0.1:${port}`
        const client = clientFor({
          strict: { url },
          ca: { url, ca: certificate.certificate },
          insecure: { url, insecureTls: true },
        })
        const head = (registry: string) => client.headBlob({ ...at(registry), digest: BLOB.digest })
        await expect(head('strict')).rejects.toMatchObject({
          code: 'UNAVAILABLE',
          message: expect.stringContaining('caFile'),
        })
        expect(client.waits).toEqual([])
        expect(await head('ca')).toEqual({ size: 5 })
        expect(await head('insecure')).toEqual({ size: 5 })
      })
    })
  })
})
