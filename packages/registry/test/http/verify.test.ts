import { rm, truncate, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, MEDIA_TYPES, parseDigest } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import { blobPath, revisionLinkPath, tagCurrentPath } from '../../src/storage/paths.ts'
import { type Finding, verifyStorage } from '../../src/verify.ts'
import {
  ask,
  content,
  pushBlob,
  pushImageBlobs,
  pushManifest,
  type RunningRegistry,
  startRegistry,
} from '../running-registry.ts'

describe('what a registry stores', () => {
  let registry: RunningRegistry

  beforeEach(async () => {
    registry = await startRegistry()
  })
  afterEach(() => registry.dispose())

  const file = (path: string) => join(registry.dataDir, path)
  const verify = async () => {
    const findings: Finding[] = []
    const verified = await verifyStorage(new FilesystemDriver(registry.dataDir), {
      found: (finding) => findings.push(finding),
    })
    return { verified, findings }
  }
  /** Pushes an image with a tag; returns the digests of its manifest and of its layer. */
  const pushImage = async (repository: string, tag: string) => {
    const manifest = await pushImageBlobs(registry.url, repository, `${repository}:${tag}`)
    const { digest } = await pushManifest(registry.url, repository, tag, manifest)
    const [{ digest: layer } = { digest: '' }] = manifest.layers as { digest: string }[]
    return { manifest: digest, layer }
  }

  it('is well when all was pushed, also what no tag names, and uploads that go on', async () => {
    await pushImage('a', '1')
    const { manifest } = await pushImage('a/b', 'latest')
    await pushImage('a/b', '2')
    await ask(`${registry.url}/v2/a/b/manifests/2`, { method: 'DELETE' })
    await pushBlob(registry.url, 'a', content('no image needs it', 1000))
    await ask(`${registry.url}/v2/a/blobs/uploads/`, { method: 'POST' })
    const index = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociIndex,
      manifests: [{ mediaType: MEDIA_TYPES.ociManifest, digest: manifest, size: 1 }],
    }
    await pushManifest(registry.url, 'a/b', 'index', index)
    const { verified, findings } = await verify()
    expect(findings).toEqual([])
    expect(verified).toMatchObject({ repositories: 2, tags: 3, manifests: 4 })
    expect(verified.blobs).toBeGreaterThan(4)
    expect(verified.bytes).toBeGreaterThan(1000)
  })

  it('is damaged when the bytes of a blob are not those that it is named by', async () => {
    const { layer } = await pushImage('a', '1')
    await writeFile(file(blobPath(parseDigest(layer))), 'x', { flag: 'r+' })
    expect((await verify()).findings).toEqual([
      { kind: 'corrupt', where: layer, why: expect.stringMatching(/push it/) },
    ])
  })

  it('is damaged when an image needs a blob that is cut off, or gone', async () => {
    const [short, gone] = [await pushImage('a', 'short'), await pushImage('b', 'gone')]
    await truncate(file(blobPath(parseDigest(short.layer))), 10)
    await rm(file(blobPath(parseDigest(gone.layer))))
    const { findings } = await verify()
    expect(findings).toEqual([
      { kind: 'missing', where: `a@${short.manifest}`, why: expect.stringContaining('which has 10') },
      { kind: 'missing', where: `b@${gone.manifest}`, why: expect.stringContaining(gone.layer) },
      { kind: 'corrupt', where: short.layer, why: expect.any(String) },
    ])
  })

  it('is damaged when a manifest is, or is none', async () => {
    const { manifest } = await pushImage('a', '1')
    await writeFile(file(blobPath(parseDigest(manifest))), '{"schemaVersion":1}')
    expect((await verify()).findings).toEqual([
      { kind: 'corrupt', where: `a@${manifest}`, why: expect.stringContaining('damaged') },
      { kind: 'corrupt', where: manifest, why: expect.any(String) },
    ])
    const text = '{"schemaVersion":1}'
    const digest = parseDigest(digestOf(text))
    const driver = new FilesystemDriver(registry.dataDir)
    await driver.write(blobPath(digest), text)
    await driver.write(revisionLinkPath('b', digest), digestOf(text))
    expect((await verify()).findings).toContainEqual({
      kind: 'invalid',
      where: `b@${digestOf(text)}`,
      why: expect.stringContaining('schemaVersion'),
    })
  })

  it('is damaged when a tag points at nothing, as a crash of another registry can leave it', async () => {
    const { manifest } = await pushImage('a', '1')
    await pushImage('a', '2')
    await writeFile(file(tagCurrentPath('a', '2')), '')
    expect((await verify()).findings).toEqual([{ kind: 'dangling', where: 'a:2', why: expect.any(String) }])
    await rm(file(revisionLinkPath('a', parseDigest(manifest))))
    expect((await verify()).findings.map(({ where }) => where)).toEqual(['a:1', 'a:2'])
  })

  it('is well while images are pushed, moved and deleted', async () => {
    let isOver = false
    const churn = async (worker: number) => {
      for (let round = 0; round < 12; round++) {
        const { manifest } = await pushImage(`churn/${worker % 2}`, `tag-${worker}`)
        if (round % 2 === 0) {
          await ask(`${registry.url}/v2/churn/${worker % 2}/manifests/${manifest}`, { method: 'DELETE' })
        }
      }
    }
    const churning = Promise.all([0, 1, 2, 3].map(churn)).finally(() => {
      isOver = true
    })
    let rounds = 0
    while (!isOver) {
      expect((await verify()).findings).toEqual([])
      rounds++
    }
    await churning
    expect(rounds).toBeGreaterThan(1)
  })

  it('is looked at until the operator has enough', async () => {
    await pushImage('a', '1')
    const enough = new AbortController()
    const verifying = verifyStorage(new FilesystemDriver(registry.dataDir), {
      found: () => {},
      progress: () => enough.abort(new Error('enough')),
      signal: enough.signal,
    })
    await expect(verifying).rejects.toThrow('enough')
  })

  it('can name a blob of no bytes', async () => {
    await pushBlob(registry.url, 'a', Buffer.alloc(0))
    const { verified, findings } = await verify()
    expect([verified.blobs, findings]).toEqual([1, []])
  })
})
