import { MEDIA_TYPES } from '@shoal/core'
import { expect } from 'vitest'
import { ask, descriptor, pushImageBlobs, pushManifest } from '../running-registry.ts'

/** What a client saw of something that it pushed. */
export interface Pushed {
  readonly path: string
  readonly type: string | null
  readonly bytes: Buffer
}

/** Pushes an OCI image, a Docker image and a list of it; returns what a client sees of them. */
export async function pushAll(url: string): Promise<Pushed[]> {
  const oci = await pushImageBlobs(url, 'lib/app', 'oci')
  const docker: Record<string, unknown> = {
    ...(await pushImageBlobs(url, 'lib/app', 'docker')),
    mediaType: MEDIA_TYPES.dockerManifest,
  }
  const references = ['oci', 'docker', 'list', 'index']
  const pushed = await pushManifest(url, 'lib/app', 'oci', oci)
  expect(pushed.answer.status).toBe(201)
  const child = await pushManifest(url, 'lib/app', 'docker', docker)
  expect(child.answer.status).toBe(201)
  const listOf = (mediaType: string, childType: string, { bytes }: { bytes: Buffer }) => ({
    schemaVersion: 2,
    mediaType,
    manifests: [{ ...descriptor(childType, bytes), platform: { os: 'linux', architecture: 'amd64' } }],
  })
  const list = await pushManifest(
    url,
    'lib/app',
    'list',
    listOf(MEDIA_TYPES.dockerList, MEDIA_TYPES.dockerManifest, child),
  )
  expect(list.answer.status).toBe(201)
  const index = await pushManifest(
    url,
    'lib/app',
    'index',
    listOf(MEDIA_TYPES.ociIndex, MEDIA_TYPES.ociManifest, pushed),
  )
  expect(index.answer.status).toBe(201)
  const digests = [pushed.digest, child.digest, list.digest, index.digest]
  const blobs = [oci, docker].flatMap(({ config, layers }) => [config, ...(layers as unknown[])]) as {
    digest: string
  }[]
  return seeAll(url, [
    ...[...references, ...digests].map((reference) => `/v2/lib/app/manifests/${reference}`),
    ...blobs.map(({ digest }) => `/v2/lib/app/blobs/${digest}`),
    '/v2/lib/app/tags/list',
    '/v2/_catalog',
  ])
}

/** That a registry shows all that was pushed, be it to another one. */
export async function expectSeen(url: string, pushed: readonly Pushed[]): Promise<void> {
  expect(
    await seeAll(
      url,
      pushed.map(({ path }) => path),
    ),
  ).toEqual(pushed)
}

async function seeAll(url: string, paths: readonly string[]): Promise<Pushed[]> {
  const accept = [MEDIA_TYPES.ociManifest, MEDIA_TYPES.ociIndex, MEDIA_TYPES.dockerManifest, MEDIA_TYPES.dockerList]
  return Promise.all(
    paths.map(async (path) => {
      const { status, headers, bytes } = await ask(url + path, { headers: { accept: accept.join(', ') } })
      expect([path, status]).toEqual([path, 200])
      const isList = path.endsWith('list') || path.endsWith('catalog')
      const type = headers.get('content-type')
      return isList ? { path, type: null, bytes: normal(bytes) } : { path, type, bytes }
    }),
  )
}

/** JSON with its lists in order: Distribution 2 does not order tags. */
function normal(json: Buffer): Buffer {
  const sorted = (_key: string, value: unknown) => (Array.isArray(value) ? [...value].sort() : value)
  return Buffer.from(JSON.stringify(JSON.parse(json.toString()), sorted))
}
