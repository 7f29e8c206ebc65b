/** A registry with a port has no place in the references of docker and podman: they name it by an alias in `origins`. */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { freePort } from '@shoal/bench'
import { beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { buildImage } from './kit/images.ts'
import { describeWith } from './kit/missing.ts'
import { registryName } from './kit/network.ts'
import { launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { startDocker } from './kit/runtimes/docker.ts'
import { setUpPodman } from './kit/runtimes/podman.ts'
import { skopeoCopy } from './kit/runtimes/skopeo.ts'
import { type Shoal, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const LINE = 'a shoal of aliases'

describeWith(['busybox', 'skopeo', 'docker', 'podman'], 'an alias of a registry', () => {
  const bed = createTestBed()
  let shoal: Shoal
  /** `host:port` of the mirror of a peer that knows the registry as `apps`; that of the swarm is another to it. */
  let mirror: string

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    const image = await buildImage(await bed.folder('image'), { line: LINE, extraLayers: [{ sizeBytes: 3_000_000 }] })
    await skopeoCopy(image.ociReference, `docker://${registryName(shoal)}/org/app:1`)
    const folder = await bed.folder('peer')
    const port = await freePort()
    const options = {
      dataDir: join(folder, 'data'),
      schedulers: [shoal.scheduler.grpc],
      mirror: { port, defaultRegistry: 'registry.invalid' },
      lane: { host: '127.0.0.1', port: await freePort() },
      libp2p: { host: '127.0.0.1', port: await freePort() },
      admin: { port: await freePort() },
      origins: { apps: { url: shoal.registry.url } },
    }
    const config = join(folder, 'peer.yaml')
    await writeFile(config, stringify(options))
    const peer = bed.use(await launch('peer', process.execPath, [SHOAL_PROGRAM, 'peer', '--config', config]))
    await peer.waitForLine(/"msg":"started"/)
    mirror = `127.0.0.1:${port}`
  })

  test('docker', async () => {
    const docker = await startDocker(bed)
    await expect(docker.pull(`${mirror}/${registryName(shoal)}/org/app:1`)).rejects.toThrow('invalid reference format')
    await docker.pull(`${mirror}/apps/org/app:1`)
    expect(await docker.run(`${mirror}/apps/org/app:1`)).toBe(`${LINE}\n`)
  })

  test('podman, by the reference and by its configuration', async () => {
    // The registry itself is out of reach, so the mirror is all there is.
    const registry = 'registry.example.com:5000'
    const mirrors = [`${mirror}/apps`]
    const podman = await setUpPodman(bed, { registries: [{ registry, mirrors, location: '127.0.0.1:1' }] })
    await podman.pull(`${registry}/org/app:1`)
    expect(await podman.run(`${registry}/org/app:1`)).toBe(`${LINE}\n`)
    await podman.podman(['pull', '--quiet', '--tls-verify=false', `${mirror}/apps/org/app:1`])
    const readme = await readFile(join(import.meta.dirname, '../README.md'), 'utf8')
    expect(readme).toContain('location = "127.0.0.1:7410/apps"')
  })
})
