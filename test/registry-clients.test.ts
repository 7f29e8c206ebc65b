/** What people push and pull with, against the registry alone: each client's push is pulled and run by another one. */
import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { digestOf, MEDIA_TYPES } from '@shoal/core'
import { beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { httpExpect } from './kit/http.ts'
import { buildArtifact, buildImage } from './kit/images.ts'
import { LayoutWriter } from './kit/layout.ts'
import { describeWith } from './kit/missing.ts'
import { launch, run } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { pullImage } from './kit/pull-image.ts'
import { pushLayout } from './kit/push-layout.ts'
import { startRivalRegistry } from './kit/rival-registry.ts'
import { startContainerd } from './kit/runtimes/containerd.ts'
import { startDocker } from './kit/runtimes/docker.ts'
import { setUpPodman } from './kit/runtimes/podman.ts'
import { skopeoCopy, skopeoInspectRaw } from './kit/runtimes/skopeo.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const LINE = 'a registry of herring'

const CLIENTS = ['busybox', 'skopeo', 'containerd', 'docker', 'podman', 'buildah'] as const

describeWith(CLIENTS, 'clients of the registry', () => {
  const bed = createTestBed()
  /** `host:port`, as image references have it. */
  let registry: string
  let url: string

  /** Starts a registry; returns its URL. */
  const start = async (options: object = {}): Promise<string> => {
    const folder = await bed.folder('registry')
    const config = join(folder, 'registry.yaml')
    await writeFile(config, stringify({ port: 0, dataDir: join(folder, 'data'), metrics: { port: 0 }, ...options }))
    const service = bed.use(await launch('registry', process.execPath, [SHOAL_PROGRAM, 'registry', '--config', config]))
    const [, address = ''] = await service.waitForLine(/"registry":"(https?:[^"]+)"/)
    return address
  }

  beforeAll(async () => {
    url = await start()
    registry = new URL(url).host
    const extraLayers = [{ sizeBytes: 3 * MIB }]
    const image = await buildImage(await bed.folder('image'), { line: LINE, extraLayers })
    await skopeoCopy(image.ociReference, `docker://${registry}/from/skopeo:1`)
    expect(digestOf(await skopeoInspectRaw(`docker://${registry}/from/skopeo:1`))).toBe(image.root.digest)
  })

  const tagsOf = async (repository: string): Promise<string[]> =>
    JSON.parse((await httpExpect(`${url}/v2/${repository}/tags/list`, [200])).body.toString()).tags

  test('docker pulls, runs and pushes, and pushes what is there already again', async () => {
    const docker = await startDocker(bed)
    await docker.pull(`${registry}/from/skopeo:1`)
    expect(await docker.run(`${registry}/from/skopeo:1`)).toBe(`${LINE}\n`)
    await docker.tag(`${registry}/from/skopeo:1`, `${registry}/from/docker:1`)
    for (let i = 0; i < 2; i++) await docker.push(`${registry}/from/docker:1`)
    expect(await tagsOf('from/docker')).toEqual(['1'])
    const containerd = await startContainerd(bed)
    await containerd.ctr(['images', 'pull', '--plain-http', `${registry}/from/docker:1`])
    expect(await containerd.run(`${registry}/from/docker:1`)).toBe(`${LINE}\n`)
  })

  test('containerd pulls, runs and pushes', async () => {
    const containerd = await startContainerd(bed)
    const [pulled, pushed] = [`${registry}/from/skopeo:1`, `${registry}/from/containerd:1`]
    await containerd.ctr(['images', 'pull', '--plain-http', pulled])
    await containerd.ctr(['images', 'tag', pulled, pushed])
    await containerd.ctr(['images', 'push', '--plain-http', pushed])
    const podman = await setUpPodman(bed)
    await podman.podman(['pull', '--quiet', '--tls-verify=false', pushed])
    expect(await podman.run(pushed)).toBe(`${LINE}\n`)
  })

  test.each(['oci', 'v2s2'] as const)('podman pulls, runs and pushes as %s', async (format) => {
    const podman = await setUpPodman(bed)
    const [pulled, pushed] = [`${registry}/from/skopeo:1`, `${registry}/from/podman:${format}`]
    await podman.podman(['pull', '--quiet', '--tls-verify=false', pulled])
    expect(await podman.run(pulled)).toBe(`${LINE}\n`)
    await podman.tag(pulled, pushed)
    await podman.podman(['push', '--quiet', '--tls-verify=false', '--format', format, pushed])
    const docker = await startDocker(bed)
    await docker.pull(pushed)
    expect(await docker.run(pushed)).toBe(`${LINE}\n`)
  })

  test('buildah builds on what the registry has, and pushes a list of two architectures', async () => {
    const folder = await bed.folder('buildah')
    const buildah = (...args: string[]) =>
      run(
        'buildah',
        ['--root', join(folder, 'root'), '--runroot', join(folder, 'run'), '--storage-driver', 'vfs', ...args],
        {
          env: {
            TMPDIR: folder,
            BUILDAH_ISOLATION: 'chroot',
            CONTAINERS_REGISTRIES_CONF: join(folder, 'registries.conf'),
          },
        },
      )
    await writeFile(join(folder, 'registries.conf'), '')
    await writeFile(join(folder, 'policy.json'), '{"default":[{"type":"insecureAcceptAnything"}]}')
    const policy = ['--signature-policy', join(folder, 'policy.json')]
    const { stdout } = await buildah('from', ...policy, '--tls-verify=false', `${registry}/from/skopeo:1`)
    const container = stdout.trim()
    await writeFile(join(folder, 'added'), 'by buildah')
    await buildah('copy', container, join(folder, 'added'), '/added')
    await buildah('manifest', 'create', 'two')
    for (const architecture of ['amd64', 'arm64']) {
      await buildah('config', '--arch', architecture, container)
      const { stdout: image } = await buildah('commit', ...policy, '--quiet', container)
      await buildah('manifest', 'add', 'two', image.trim())
    }
    const target = `docker://${registry}/from/buildah:1`
    await buildah('manifest', 'push', ...policy, '--all', '--tls-verify=false', 'two', target)
    const pulled = await pullImage(url, 'from/buildah', '1')
    expect(pulled.blobs.size).toBe(5)
    const raw = JSON.parse(await skopeoInspectRaw(target)) as { manifests: { platform: { architecture: string } }[] }
    expect(raw.manifests.map(({ platform }) => platform.architecture).sort()).toEqual(['amd64', 'arm64'])
  })

  test('an artifact, its signature and its SBOM, as oras, cosign and syft lay them out, are found by what they are about', async () => {
    const artifact = await buildArtifact(await bed.folder('artifact'), [Buffer.from('{"module": true}')])
    await pushLayout(url, 'from/oras', '1', artifact)
    await skopeoCopy(`docker://${registry}/from/oras:1`, `docker://${registry}/copied/oras:1`)
    expect(digestOf(await skopeoInspectRaw(`docker://${registry}/copied/oras:1`))).toBe(artifact.root.digest)

    const about = async (artifactType: string, layerType: string, annotations: Record<string, string>) => {
      const writer = new LayoutWriter(await bed.folder('referrer'))
      const manifest = {
        schemaVersion: 2,
        mediaType: MEDIA_TYPES.ociManifest,
        artifactType,
        config: await writer.addBlob(MEDIA_TYPES.ociEmpty, '{}'),
        layers: [await writer.addBlob(layerType, JSON.stringify({ about: artifactType }))],
        subject: artifact.root,
        annotations,
      }
      const layout = await writer.finish(await writer.addJson(manifest.mediaType, manifest), 'latest')
      await pushLayout(url, 'from/oras', layout.root.digest, layout)
      return layout.root.digest
    }
    const bundle = 'application/vnd.dev.sigstore.bundle.v0.3+json'
    const signature = await about(bundle, bundle, { 'dev.sigstore.bundle.content': 'dsse-envelope' })
    const sbom = await about('application/spdx+json', 'application/spdx+json', { created: 'by a scanner' })
    const referrers = async (query = '') => {
      const path = `${url}/v2/from/oras/referrers/${artifact.root.digest}${query}`
      const { manifests } = JSON.parse((await httpExpect(path, [200])).body.toString())
      return (manifests as { digest: string; artifactType: string }[]).map(({ digest }) => digest).sort()
    }
    expect(await referrers()).toEqual([signature, sbom].sort())
    expect(await referrers(`?artifactType=${encodeURIComponent(bundle)}`)).toEqual([signature])

    // What cosign did before, and still does for those who ask: a tag that names what is signed.
    const simple = 'application/vnd.dev.cosign.simplesigning.v1+json'
    const writer = new LayoutWriter(await bed.folder('signature'))
    const layer = await writer.addBlob(simple, JSON.stringify({ critical: {} }))
    const manifest = {
      schemaVersion: 2,
      mediaType: MEDIA_TYPES.ociManifest,
      config: await writer.addBlob(MEDIA_TYPES.ociConfig, '{}'),
      layers: [{ ...layer, annotations: { 'dev.cosignproject.cosign/signature': 'MEUC' } }],
    }
    const layout = await writer.finish(await writer.addJson(manifest.mediaType, manifest), 'latest')
    const tag = `${artifact.root.digest.replace(':', '-')}.sig`
    await pushLayout(url, 'from/oras', tag, layout)
    expect((await pullImage(url, 'from/oras', tag)).digest).toBe(layout.root.digest)
  })

  test.each([true, false])('skopeo and containerd push and pull over TLS, with HTTP/2: %s', async (http2) => {
    const folder = await bed.folder('tls')
    const [certFile, keyFile] = [join(folder, 'ca.crt'), join(folder, 'server.pem')]
    const kind = ['-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2']
    const name = ['-subj', '/CN=registry', '-addext', 'subjectAltName=IP:127.0.0.1']
    await run('openssl', ['req', ...kind, ...name, '-keyout', keyFile, '-out', certFile])
    const { host } = new URL(await start({ tls: { certFile, keyFile, http2 } }))
    const image = await buildImage(await bed.folder('image'), { line: LINE, extraLayers: [{ sizeBytes: 20 * MIB }] })
    const options = { verifyTls: true, certFolder: folder }
    await skopeoCopy(image.ociReference, `docker://${host}/by/skopeo:1`, options)
    expect(digestOf(await skopeoInspectRaw(`docker://${host}/by/skopeo:1`, options))).toBe(image.root.digest)
    const containerd = await startContainerd(bed)
    // Of addresses of this machine ctr thinks that they speak no TLS.
    const hosts = join(folder, 'hosts', host)
    await mkdir(hosts, { recursive: true })
    const server = `https://${host}`
    const toml = `server = "${server}"\n[host."${server}"]\ncapabilities = ["pull", "resolve", "push"]\nca = "${certFile}"\n`
    await writeFile(join(hosts, 'hosts.toml'), toml)
    const trust = ['--hosts-dir', join(folder, 'hosts')]
    await containerd.ctr(['images', 'pull', ...trust, `${host}/by/skopeo:1`])
    await containerd.ctr(['images', 'tag', `${host}/by/skopeo:1`, `${host}/by/containerd:1`])
    await containerd.ctr(['images', 'push', ...trust, `${host}/by/containerd:1`])
    expect(await containerd.run(`${host}/by/skopeo:1`)).toBe(`${LINE}\n`)
    expect(digestOf(await skopeoInspectRaw(`docker://${host}/by/containerd:1`, options))).toBe(image.root.digest)
  })

  test('containerd, docker and podman pull what is another registry’s, also when that one is gone', async () => {
    const hub = await startRivalRegistry(bed)
    const line = 'from far away'
    const image = await buildImage(await bed.folder('image'), {
      line,
      extraLayers: [{ sizeBytes: 20 * MIB }],
      format: 'docker',
      architectures: ['amd64', 'arm64'],
    })
    await pushLayout(hub.url, 'library/far', '1', image)
    const upstreams = { 'docker.io': { url: hub.url } }
    const cache = await start({ proxy: { upstreams, default: 'docker.io' } })
    const { host } = new URL(cache)
    const hosts = { registry: 'docker.io', mirrors: [cache], server: 'http://127.0.0.1:1' }
    const containerd = await startContainerd(bed, { hosts: [hosts] })
    await containerd.pull('docker.io/library/far:1')
    expect(await containerd.run('docker.io/library/far:1')).toBe(`${line}\n`)
    await hub.stop()
    await containerd.remove('docker.io/library/far:1')
    await containerd.pull('docker.io/library/far:1')
    const docker = await startDocker(bed, { mirrors: [cache] })
    await docker.pull('far:1')
    expect(await docker.run('far:1')).toBe(`${line}\n`)
    const podman = await setUpPodman(bed)
    await podman.podman(['pull', '--quiet', '--tls-verify=false', `${host}/docker.io/library/far:1`])
    expect(await podman.run(`${host}/docker.io/library/far:1`)).toBe(`${line}\n`)
  })
})
