import { generateKeyPairSync, verify } from 'node:crypto'
import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { content, pushBlob, type RunningRegistry, startRegistry, temporaryFolder } from '../running-registry.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start(redirect: object, more: object = {}): Promise<RunningRegistry> {
  const registry = await startRegistry({ redirect: { enabled: true, ...redirect }, ...more })
  cleanups.push(registry.dispose)
  return registry
}

const get = (url: string, headers: Record<string, string> = {}, method = 'GET') =>
  fetch(url, { method, headers, redirect: 'manual' })

describe('redirects of blobs', () => {
  it('name the file below the base URL of a CDN, and nothing else is redirected', async () => {
    const { url } = await start(
      { cdn: { baseUrl: 'https://cdn.example.org/registry/' } },
      { storage: { prefix: '/root/' } },
    )
    const digest = await pushBlob(url, 'app', content('blob', 1000))
    const hex = digest.slice('sha256:'.length)
    const answer = await get(`${url}/v2/app/blobs/${digest}`)
    expect(answer.status).toBe(307)
    expect(answer.headers.get('location')).toBe(
      `https://cdn.example.org/registry/root/docker/registry/v2/blobs/sha256/${hex.slice(0, 2)}/${hex}/data`,
    )
    expect(answer.headers.get('docker-content-digest')).toBe(digest)
    expect((await get(`${url}/v2/app/blobs/${digest}`, {}, 'HEAD')).status).toBe(200)
    expect((await get(`${url}/v2/app/blobs/${digest}`, { 'if-none-match': `"${digest}"` })).status).toBe(304)
    expect((await get(`${url}/v2/other/blobs/${digest}`)).status).toBe(404)
  })

  it('are signed as CloudFront wants it', async () => {
    const folder = await temporaryFolder()
    cleanups.push(() => rm(folder, { recursive: true }))
    const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const privateKeyFile = join(folder, 'key.pem')
    await writeFile(privateKeyFile, privateKey.export({ type: 'pkcs1', format: 'pem' }))
    const cdn = { baseUrl: 'https://cdn.example.org', keyPairId: 'K123', privateKeyFile }
    const { url } = await start({ cdn, expiresSeconds: 600 })
    const digest = await pushBlob(url, 'app', content('blob', 1000))
    const location = new URL((await get(`${url}/v2/app/blobs/${digest}`)).headers.get('location') ?? '')
    const expires = Number(location.searchParams.get('Expires'))
    // Whole seconds, rounded.
    expect(expires - Date.now() / 1000).toBeGreaterThan(500)
    expect(expires - Date.now() / 1000).toBeLessThanOrEqual(601)
    expect(location.searchParams.get('Key-Pair-Id')).toBe('K123')
    // Source: Amazon CloudFront, "Creating a signature for a signed URL that uses a canned policy".
    const Resource = location.origin + location.pathname
    const policy = JSON.stringify({
      Statement: [{ Resource, Condition: { DateLessThan: { 'AWS:EpochTime': expires } } }],
    })
    const text = location.searchParams.get('Signature') ?? ''
    const signature = Buffer.from(text.replaceAll('-', '+').replaceAll('_', '=').replaceAll('~', '/'), 'base64')
    expect(verify('sha1', Buffer.from(policy), publicKey, signature)).toBe(true)
  })

  it.each([
    [{}, 'the storage gives no URLs'],
    [{ cdn: { baseUrl: 'https://cdn.example.org', keyPairId: 'K123' } }, 'give keyPairId and privateKeyFile together'],
    [
      { cdn: { baseUrl: 'https://cdn.example.org', keyPairId: 'K123', privateKeyFile: '/none' } },
      '/none can not be read',
    ],
    [
      { cdn: { baseUrl: 'https://cdn.example.org', keyPairId: 'K123', privateKeyFile: import.meta.filename } },
      'holds no RSA key',
    ],
  ])('are refused with %j', async (redirect, message) => {
    await expect(startRegistry({ redirect: { enabled: true, ...redirect } })).rejects.toThrow(message)
  })
})
