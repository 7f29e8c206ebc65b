import { readdir, readFile, rm } from 'node:fs/promises'
import { request } from 'node:http'
import { join } from 'node:path'
import { digestOf, isDigest, parseDigest } from '@shoal/core'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import { blobPath } from '../../src/storage/paths.ts'
import { type Finding, verifyStorage } from '../../src/verify.ts'
import {
  ask,
  beginUpload,
  content,
  pushImageBlobs,
  pushManifest,
  startRegistry,
  temporaryFolder,
} from '../running-registry.ts'
import { RegistryChild } from './registry-child.ts'

let dataDir: string
const child = new RegistryChild()
beforeEach(async () => {
  dataDir = await temporaryFolder()
})
afterEach(async () => {
  await child.kill()
  await rm(dataDir, { recursive: true })
})

/** Every final name holds what it says: blobs their digest, links a digest whose blob is there. */
async function expectSound(): Promise<void> {
  const files = (await readdir(dataDir, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile())
  for (const { name, parentPath } of files) {
    const path = join(parentPath, name)
    const blob = /\/blobs\/(sha256|sha512)\/..\/([0-9a-f]+)\/data$/.exec(path)
    if (blob !== null) {
      expect(digestOf(await readFile(path), blob[1] as 'sha256')).toBe(`${blob[1]}:${blob[2]}`)
    } else if (name === 'link') {
      const text = await readFile(path, 'utf8')
      expect(isDigest(text)).toBe(true)
      await readFile(join(dataDir, blobPath(parseDigest(text))))
    }
  }
  const findings: Finding[] = []
  await verifyStorage(new FilesystemDriver(dataDir), { found: (finding) => findings.push(finding) })
  expect(findings).toEqual([])
}

it('killed in the middle of an upload, it goes on where it was', async () => {
  const bytes = content('killed upload', 8 * 1024 * 1024)
  const half = bytes.length / 2
  const upload = await beginUpload(await child.start(dataDir), 'app')
  const patch = request(upload, { method: 'PATCH' })
  patch.on('error', () => {})
  patch.write(bytes.subarray(0, half))
  await expect.poll(async () => Number((await ask(upload)).headers.get('range')?.slice(2))).toBeGreaterThan(half / 2)
  await child.kill()
  patch.destroy()
  await expectSound()
  expect(await readdir(join(dataDir, 'docker/registry/v2'))).toEqual(['repositories'])

  const registry = await startRegistry({ dataDir })
  try {
    const again = registry.url + new URL(upload).pathname
    const at = Number((await ask(again)).headers.get('range')?.slice(2)) + 1
    expect(at).toBeGreaterThan(half / 2)
    const headers = { 'content-range': `${at}-${bytes.length - 1}` }
    const query = `?digest=${digestOf(bytes)}`
    expect((await ask(again + query, { method: 'PUT', body: bytes.subarray(at), headers })).status).toBe(201)
    expect((await ask(`${registry.url}/v2/app/blobs/${digestOf(bytes)}`)).bytes.equals(bytes)).toBe(true)
  } finally {
    await registry.stop()
  }
})

it('killed at any moment of many pushes, it keeps all that it confirmed and shows nothing half-written', async () => {
  const confirmed = new Map<string, Buffer>()
  for (const [round, killAfter] of [1, 3, 5].entries()) {
    const url = await child.start(dataDir)
    let images = 0
    const pushMany = async (worker: number) => {
      for (let i = 0; ; i++) {
        const tag = `r${round}-w${worker}-${i}`
        const { answer, bytes } = await pushManifest(url, 'app', tag, await pushImageBlobs(url, 'app', tag))
        if (answer.status !== 201) throw new Error(`answered ${answer.status}`)
        confirmed.set(tag, bytes)
        if (++images === killAfter) await child.kill()
      }
    }
    const ends = await Promise.allSettled([0, 1, 2].map(pushMany))
    expect(ends.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    await expectSound()
  }
  expect(confirmed.size).toBeGreaterThanOrEqual(9)
  const registry = await startRegistry({ dataDir })
  try {
    const list = await ask(`${registry.url}/v2/app/tags/list`)
    const { tags } = JSON.parse(list.bytes.toString()) as { tags: string[] }
    expect(tags).toEqual(expect.arrayContaining([...confirmed.keys()]))
    for (const tag of tags) {
      const { status, bytes } = await ask(`${registry.url}/v2/app/manifests/${tag}`)
      expect(status).toBe(200)
      if (confirmed.has(tag)) expect(bytes.equals(confirmed.get(tag) ?? Buffer.alloc(0))).toBe(true)
      const manifest = JSON.parse(bytes.toString()) as { config: { digest: string }; layers: { digest: string }[] }
      for (const { digest } of [manifest.config, ...manifest.layers]) {
        expect(digestOf((await ask(`${registry.url}/v2/app/blobs/${digest}`)).bytes)).toBe(digest)
      }
    }
  } finally {
    await registry.stop()
  }
})
