import { execFile } from 'node:child_process'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { expect, it } from 'vitest'
import { exportImages, FilesystemDriver, importImages, parseImageName, verifyStorage } from '../../src/index.ts'
import { content, descriptor, startRegistry, temporaryFolder } from '../running-registry.ts'
import { requireTool } from './tool.ts'

const run = promisify(execFile)

/** Writes an image as an OCI layout; returns its manifest's digest. */
async function writeLayout(folder: string): Promise<string> {
  const blobs = join(folder, 'blobs', 'sha256')
  await mkdir(blobs, { recursive: true })
  const put = async (mediaType: string, bytes: Buffer) => {
    await writeFile(join(blobs, digestOf(bytes).slice(7)), bytes)
    return descriptor(mediaType, bytes)
  }
  const json = (value: object) => Buffer.from(JSON.stringify(value))
  const tar = Buffer.concat([content('skopeo', 512 * 4000)])
  const layers = [await put('application/vnd.oci.image.layer.v1.tar+gzip', gzipSync(tar))]
  const rootfs = { type: 'layers', diff_ids: [digestOf(tar)] }
  const config = await put(MEDIA_TYPES.ociConfig, json({ architecture: 'amd64', os: 'linux', config: {}, rootfs }))
  const manifest = { schemaVersion: 2, mediaType: MEDIA_TYPES.ociManifest, config, layers }
  const described = await put(MEDIA_TYPES.ociManifest, json(manifest))
  const annotations = { 'org.opencontainers.image.ref.name': 'v1' }
  const index = { schemaVersion: 2, manifests: [{ ...described, annotations }] }
  await writeFile(join(folder, 'index.json'), JSON.stringify(index))
  await writeFile(join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}')
  return described.digest
}

it('skopeo copies an image to the registry and back', async (context) => {
  const skopeo = requireTool('skopeo', context)
  const folder = await temporaryFolder()
  const registry = await startRegistry()
  try {
    const digest = await writeLayout(join(folder, 'from'))
    const image = `docker://${new URL(registry.url).host}/lib/app:v1`
    const copy = (from: string, to: string) =>
      run(skopeo, ['--insecure-policy', 'copy', '--src-tls-verify=false', '--dest-tls-verify=false', from, to])
    await copy(`oci:${join(folder, 'from')}:v1`, image)
    await copy(image, `oci:${join(folder, 'to')}:v1`)
    const { stdout } = await run(skopeo, ['inspect', '--raw', '--tls-verify=false', image])
    expect(digestOf(stdout)).toBe(digest)
    const { layers } = JSON.parse(stdout) as { layers: { digest: string }[] }
    for (const layer of layers) {
      const bytes = await readFile(join(folder, 'to', 'blobs', 'sha256', layer.digest.slice(7)))
      expect(digestOf(bytes)).toBe(layer.digest)
    }
  } finally {
    await registry.dispose()
    await rm(folder, { recursive: true })
  }
})

it('skopeo and the registry read the archives that the other one wrote', async (context) => {
  const skopeo = requireTool('skopeo', context)
  const folder = await temporaryFolder()
  const at = (name: string) => join(folder, name)
  const copy = (from: string, to: string) => run(skopeo, ['--insecure-policy', 'copy', from, to])
  try {
    const digest = await writeLayout(at('from'))
    await copy(`oci:${at('from')}:v1`, `oci-archive:${at('oci.tar')}:v1`)
    await copy(`oci:${at('from')}:v1`, `docker-archive:${at('docker.tar')}:example.org/lib/app:v2`)
    const driver = new FilesystemDriver(at('registry'))
    const as = parseImageName('lib/app')
    const [image] = await importImages(driver, createReadStream(at('oci.tar')), { as })
    expect(image).toEqual({ repository: 'lib/app', tag: 'v1', digest })
    const [docker] = await importImages(driver, createReadStream(at('docker.tar')), {})
    expect(docker).toMatchObject({ repository: 'lib/app', tag: 'v2' })
    await verifyStorage(driver, { found: (finding) => expect.unreachable(JSON.stringify(finding)) })

    await exportImages(driver, createWriteStream(at('out.tar')), { images: [parseImageName('lib/app')] })
    const inspected = async (from: string) => (await run(skopeo, ['inspect', '--raw', from])).stdout
    expect(digestOf(await inspected(`oci-archive:${at('out.tar')}:v1`))).toBe(digest)
    expect(digestOf(await inspected(`oci-archive:${at('out.tar')}:v2`))).toBe(docker?.digest)
    for (const tag of ['v1', 'v2']) {
      await copy(`oci-archive:${at('out.tar')}:${tag}`, `dir:${at(`oci-${tag}`)}`)
      // As docker load reads it: the same configuration, and so the same image.
      await copy(`docker-archive:${at('out.tar')}:lib/app:${tag}`, `dir:${at(`docker-${tag}`)}`)
    }
  } finally {
    await rm(folder, { recursive: true })
  }
})
