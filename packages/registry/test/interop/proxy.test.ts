import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import {
  ask,
  content,
  errorOf,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
  temporaryFolder,
} from '../running-registry.ts'
import { startDistribution } from './distribution.ts'
import { requireTool } from './tool.ts'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const PASSWORD = 'right horse'
/** bcrypt of the password, cost 5, which is all that Distribution takes. */
const HTPASSWD = 'puller:$2y$05$abcdefghijklmnopqrstuuB05BVy0V7KomGh8K56xgiHLq3Wkqh46\n'

async function folder(): Promise<string> {
  const made = await temporaryFolder()
  cleanups.push(() => rm(made, { recursive: true }))
  return made
}

async function startUpstream(program: string, dataDir: string, more = ''): Promise<string> {
  const { url, stop } = await startDistribution(program, dataDir, { more })
  cleanups.push(stop)
  return url
}

/** A registry that takes `url` for `far.example`. */
async function startProxy(url: string, account: object = {}): Promise<RunningRegistry> {
  const registry = await startRegistry({ proxy: { upstreams: { 'far.example': { url, ...account } } } })
  cleanups.push(registry.dispose)
  return registry
}

it('gives the tags of a Distribution, which knows no pages, page by page', async (context) => {
  const url = await startUpstream(requireTool('docker-registry', context), await folder())
  const manifest = await pushImageBlobs(url, 'app', 'tags')
  for (const tag of ['a', 'b', 'c']) await pushManifest(url, 'app', tag, manifest)
  const proxy = await startProxy(url)
  const pages: string[][] = []
  for (let next: string | undefined = '/v2/far.example/app/tags/list?n=2'; next !== undefined; ) {
    const { bytes, headers } = await ask(`${proxy.url}${next}`)
    pages.push((JSON.parse(bytes.toString()) as { tags: string[] }).tags)
    next = /^<([^>]+)>; rel="next"$/.exec(headers.get('link') ?? '')?.[1]
  }
  expect(pages).toEqual([['a', 'b'], ['c']])
  const { digest } = await pushManifest(url, 'app', 'a', manifest)
  // It has no referrers: the client looks for a tag, then.
  const referrers = await ask(`${proxy.url}/v2/far.example/app/referrers/${digest}`)
  expect(errorOf(referrers).code).toBe('404 NAME_UNKNOWN')
})

it('pulls with the account that the upstream is configured with, and asks no client for one', async (context) => {
  const program = requireTool('docker-registry', context)
  const dataDir = await folder()
  const open = await startUpstream(program, dataDir)
  const image = await pushImageBlobs(open, 'app', 'secret')
  const { bytes } = await pushManifest(open, 'app', 'v1', image)
  await writeFile(join(dataDir, 'htpasswd'), HTPASSWD)
  const closed = await startUpstream(
    program,
    dataDir,
    `auth: { htpasswd: { realm: far, path: ${dataDir}/htpasswd } }\n`,
  )
  const passwordFile = join(dataDir, 'password')
  const [layer] = image.layers as { digest: string }[]
  for (const [password, isRight] of [
    [PASSWORD, true],
    ['wrong horse', false],
  ] as const) {
    await writeFile(passwordFile, `${password}\n`)
    const proxy = await startProxy(closed, { username: 'puller', passwordFile })
    const manifest = await ask(`${proxy.url}/v2/far.example/app/manifests/v1`)
    const blob = await ask(`${proxy.url}/v2/far.example/app/blobs/${layer?.digest}`)
    if (isRight) {
      expect(manifest.bytes.equals(bytes)).toBe(true)
      expect(blob.bytes.equals(content('secret layer', 3000))).toBe(true)
      continue
    }
    for (const answer of [manifest, blob]) {
      expect(answer.status).toBe(404)
      expect(answer.headers.get('www-authenticate')).toBeNull()
      expect(answer.bytes.toString()).toContain('refuses the configured credentials')
      expect(answer.bytes.toString()).not.toContain(password)
    }
  }
  const anonymous = await startProxy(closed)
  expect((await ask(`${anonymous.url}/v2/far.example/app/manifests/v1`)).status).toBe(404)
})
