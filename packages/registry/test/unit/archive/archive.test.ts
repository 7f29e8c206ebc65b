import { PassThrough, Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { gzipSync } from 'node:zlib'
import { type Digest, digestOf, formatDigest, MEDIA_TYPES, parseDigest } from '@shoal/core'
import { extract, type Header, pack } from 'tar-stream'
import { beforeEach, describe, expect, it } from 'vitest'
import { exportImages } from '../../../src/archive/export.ts'
import { parseImageName, parsePlatform } from '../../../src/archive/image-name.ts'
import { importImages } from '../../../src/archive/import.ts'
import { blobPath, REPOSITORIES } from '../../../src/storage/paths.ts'
import { content, descriptor } from '../../running-registry.ts'
import { LAYER, World } from '../gc/world.ts'

let from: World
let to: World
beforeEach(() => {
  from = new World()
  to = new World()
})

async function exported(images: readonly string[], platform?: string): Promise<Buffer> {
  const sink = new PassThrough()
  const names = images.map(parseImageName)
  const options = { images: names, platform: platform === undefined ? undefined : parsePlatform(platform) }
  const [tar] = await Promise.all([buffer(sink), exportImages(from.driver, sink, options)])
  return tar
}

const imported = (tar: Buffer, options: { as?: string; platform?: string } = {}) =>
  importImages(to.driver, Readable.from([tar]), {
    as: options.as === undefined ? undefined : parseImageName(options.as),
    platform: options.platform === undefined ? undefined : parsePlatform(options.platform),
  })

async function filesOf(tar: Buffer): Promise<Map<string, Buffer>> {
  const files = new Map<string, Buffer>()
  const entries = extract()
  entries.end(tar)
  for await (const entry of entries) files.set(entry.header.name, await buffer(entry as unknown as Readable))
  return files
}

async function tarOf(files: readonly (readonly [header: Partial<Header> & { name: string }, content?: Buffer])[]) {
  const tar = pack()
  for (const [header, bytes] of files) tar.entry(header as Header, bytes ?? '')
  tar.finalize()
  return buffer(tar as unknown as Readable)
}

/** An index with an image for each of two platforms. */
async function multiPlatform(tag: string): Promise<{ amd64: Digest; arm64: Digest; index: Digest }> {
  const [amd64, arm64] = [await from.image('lib/app', 'amd64'), await from.image('lib/app', 'arm64')]
  const childOf = async (digest: Digest, architecture: string) => ({
    ...descriptor(MEDIA_TYPES.ociManifest, (await from.manifests.read('lib/app', digest)) ?? Buffer.alloc(0)),
    platform: { os: 'linux', architecture },
  })
  const manifests = [await childOf(amd64, 'amd64'), await childOf(arm64, 'arm64')]
  const index = await from.manifest('lib/app', { mediaType: MEDIA_TYPES.ociIndex, manifests }, tag)
  return { amd64, arm64, index }
}

const expectWhole = async () => expect(await to.findings()).toEqual([])
const expectNothing = async () => expect(await to.driver.list(REPOSITORIES)).toEqual([])

describe('an archive of images', () => {
  it('brings images, their tags, and what refers to them, to another registry', async () => {
    const { index, amd64 } = await multiPlatform('v1')
    const subject = { ...descriptor(MEDIA_TYPES.ociIndex, Buffer.alloc(3)), digest: formatDigest(index) }
    const signature = await from.image('lib/app', 'signature', { subject, artifactType: 'application/vnd.sig' })
    const childSubject = { ...subject, mediaType: MEDIA_TYPES.ociManifest, digest: formatDigest(amd64) }
    const sbom = await from.image('lib/app', 'sbom', { subject: childSubject })
    await from.image('other', 'amd64', {}, 'same')
    await from.image('other', 'not exported', {}, 'x')

    const all = await imported(gzipSync(await exported(['lib/app', 'other:same'])))
    expect(all.filter(({ tag }) => tag !== undefined).map(({ repository, tag }) => `${repository}:${tag}`)).toEqual([
      'lib/app:v1',
      'other:same',
    ])
    expect(await to.manifests.resolve('lib/app', { tag: 'v1' })).toEqual(index)
    expect(await to.held('lib/app')).toEqual(await from.held('lib/app'))
    expect(await to.held('lib/app')).toContain(formatDigest(signature))
    expect(await to.held('lib/app')).toContain(formatDigest(sbom))
    expect(await to.manifests.tags('other', 10)).toEqual(['same'])
    await expectWhole()
    // What was staged is gone.
    expect(await to.driver.list(REPOSITORIES)).toEqual(['lib', 'other'])
  })

  it('brings the same images twice, and nothing else', async () => {
    await from.image('app', 'one', {}, 'v1')
    const tar = await exported(['app:v1'])
    expect(await imported(tar)).toEqual(await imported(tar))
    await expectWhole()
    expect(await exported(['app:v1'])).toEqual(tar)
  })

  it('can be told what an image is called', async () => {
    const digest = await from.image('app', 'one', {}, 'v1')
    const tar = await exported([`app@${formatDigest(digest)}`])
    await expect(imported(tar)).rejects.toMatchObject({ code: 'NAME_INVALID' })
    await expectNothing()
    expect(await imported(tar, { as: 'team/app:v2' })).toEqual([
      { repository: 'team/app', tag: 'v2', digest: formatDigest(digest) },
    ])
    await from.image('app', 'two', {}, 'v3')
    const both = await exported(['app'])
    await expect(imported(both, { as: 'moved:v2' })).rejects.toThrow('without a tag')
    expect((await imported(both, { as: 'moved' })).map(({ tag }) => tag)).toEqual(['v1', 'v3'])
  })

  it('holds one platform when that is asked for, on either side', async () => {
    const { arm64, amd64 } = await multiPlatform('v1')
    const tar = await exported(['lib/app:v1'], 'linux/arm64')
    expect(await imported(tar)).toMatchObject([{ tag: 'v1', digest: formatDigest(arm64) }])
    expect(await to.held('lib/app')).toEqual([formatDigest(arm64)])
    await expect(exported(['lib/app:v1'], 'linux/s390x')).rejects.toThrow('linux/amd64, linux/arm64')

    const whole = await exported(['lib/app:v1'])
    expect(await imported(whole, { as: 'one', platform: 'linux/amd64' })).toMatchObject([
      { digest: formatDigest(amd64) },
    ])
    await expectWhole()
  })

  it('without all platforms of an index says which it lacks, and is taken for the one it has', async () => {
    const { arm64 } = await multiPlatform('v1')
    const files = [...(await filesOf(await exported(['lib/app:v1'])))]
    // As containerd does that exports for its own platform.
    const withoutArm = files.filter(([name]) => !name.endsWith(arm64.hex))
    const tar = await tarOf(withoutArm.map(([name, bytes]) => [{ name }, bytes] as const))
    await expect(imported(tar)).rejects.toThrow('the image for linux/arm64')
    await expectNothing()
    expect(await imported(tar, { platform: 'linux/amd64' })).toHaveLength(1)
  })

  it('has sha512 contents too', async () => {
    const bytes = content('sha512', 500)
    const layer = { ...descriptor(LAYER, bytes), digest: digestOf(bytes, 'sha512') }
    const config = descriptor(MEDIA_TYPES.ociConfig, content('config', 10))
    await from.blob('app', content('config', 10))
    await from.blobs.adopt('app', parseDigest(layer.digest), await from.blob('app', bytes), {
      path: 'none',
      sizeBytes: 500,
    })
    await from.manifest('app', { mediaType: MEDIA_TYPES.ociManifest, config, layers: [layer] }, 'v1')
    await imported(await exported(['app:v1']))
    expect(await to.blobs.sizeOf('app', parseDigest(layer.digest))).toBe(500)
    await expectWhole()
  })

  it('of an old Docker is read: layers by their places, links, gzipped or not', async () => {
    const [config, one, two] = [content('config', 50), content('one', 3000), gzipSync(content('two', 3000))]
    const docker = [
      {
        Config: 'config.json',
        RepoTags: ['registry.example:5000/lib/app:v1', 'app:v2'],
        Layers: ['1/layer.tar', '2/layer.tar', '3/layer.tar'],
      },
    ]
    const tar = await tarOf([
      [{ name: '1/', type: 'directory' }],
      [{ name: '1/layer.tar' }, one],
      [{ name: '1/VERSION' }, Buffer.from('1.0')],
      [{ name: '2/layer.tar' }, two],
      [{ name: '3/layer.tar', type: 'symlink', linkname: '../1/layer.tar' }],
      [{ name: 'config.json' }, config],
      [{ name: 'manifest.json' }, Buffer.from(JSON.stringify(docker))],
    ])
    const images = await imported(tar)
    expect(images.map(({ repository, tag }) => `${repository}:${tag}`)).toEqual(['lib/app:v1', 'app:v2'])
    const manifest = JSON.parse(String(await to.manifests.read('app', parseDigest(images[0]?.digest ?? ''))))
    expect(manifest.config).toEqual(descriptor(MEDIA_TYPES.ociConfig, config))
    expect(manifest.layers).toEqual([descriptor(LAYER, one), descriptor(`${LAYER}+gzip`, two), descriptor(LAYER, one)])
    await expectWhole()
  })

  it('is refused, and leaves nothing, when it is damaged, cut off, not whole or none', async () => {
    await from.image('app', 'one', {}, 'v1')
    const tar = await exported(['app:v1'])
    const files = [...(await filesOf(tar))]
    const layer = content('one layer', 1000)
    const changed = (change: (name: string, bytes: Buffer) => Buffer | undefined) =>
      tarOf(
        files.flatMap(([name, bytes]) => {
          const now = change(name, bytes)
          return now === undefined ? [] : [[{ name }, now] as const]
        }),
      )
    const bad: [Buffer, string][] = [
      [await changed((_, bytes) => (bytes.equals(layer) ? Buffer.alloc(1000) : bytes)), 'is damaged'],
      [await changed((_, bytes) => (bytes.equals(layer) ? undefined : bytes)), `it lacks ${digestOf(layer)}`],
      [await changed((name, bytes) => (name.endsWith('.json') ? undefined : bytes)), 'neither index.json'],
      [
        await changed((name, bytes) => (name === 'index.json' ? Buffer.from('{') : bytes)),
        'index.json can not be read',
      ],
      [await changed((name, bytes) => (name === 'index.json' ? Buffer.alloc(5 * 2 ** 20) : bytes)), 'larger than'],
      [tar.subarray(0, tar.length / 2), 'can not be read'],
      [gzipSync(tar).subarray(0, 1000), 'can not be read'],
      [content('no tar', 5000), 'can not be read'],
      [Buffer.alloc(0), 'neither index.json'],
    ]
    for (const [archive, why] of bad) {
      await expect(imported(archive), why).rejects.toMatchObject({
        code: 'MANIFEST_INVALID',
        message: expect.stringContaining(why),
      })
      await expectNothing()
    }
  })

  it('holds nothing that is damaged in the storage, or not there', async () => {
    await from.image('app', 'one', {}, 'v1')
    for (const name of ['app:none', 'none', 'app@sha256:'.padEnd(75, '0')]) {
      await expect(exported([name])).rejects.toMatchObject({ code: expect.stringMatching(/UNKNOWN$/) })
    }
    const path = blobPath(parseDigest(digestOf(content('one layer', 1000))))
    await from.driver.write(path, content('other', 1000))
    await expect(exported(['app:v1'])).rejects.toThrow('is damaged in the storage')
    await from.driver.remove(path)
    await expect(exported(['app:v1'])).rejects.toMatchObject({ code: 'BLOB_UNKNOWN' })
  })
})

it.each(['', 'App', 'app:', 'app:-x', 'app@sha256:0', ':v1', 'a:b:c'])('%s names no image', (text) => {
  expect(() => parseImageName(text)).toThrow('write name, name:tag or name@digest')
})

it.each(['linux', 'linux/', 'Linux/amd64', 'linux/amd64/v1/x'])('%s names no platform', (text) => {
  expect(() => parsePlatform(text)).toThrow('such as linux/arm64')
})
