/** Each release of containerd, set up as README says, pulls through a peer. */
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { buildImage } from './kit/images.ts'
import { describeWith } from './kit/missing.ts'
import { nodeMetric, registryName } from './kit/network.ts'
import { type ContainerdRelease, CRI_NAMESPACE, startContainerd } from './kit/runtimes/containerd.ts'
import { skopeoCopy } from './kit/runtimes/skopeo.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const LINE = 'a shoal of sprats'
const RELEASES: readonly ContainerdRelease[] = [
  { release: '1.x', configVersion: 2 },
  { release: '2.x', configVersion: 2 },
  { release: '2.x', configVersion: 3 },
  { release: '2.x', configVersion: 4 },
]

/** The table that README gives for a version of config.toml. */
async function tableOfReadme(version: number): Promise<string> {
  const readme = await readFile(join(import.meta.dirname, '../README.md'), 'utf8')
  const tables = [...readme.matchAll(/```toml\n# (version = [^\n]*)\n(\[plugins[^`]*)```/g)]
  const found = tables.filter(([, versions]) => new RegExp(`version = ${version}\\b`).test(versions ?? ''))
  expect(found).toHaveLength(1)
  return found[0]?.[2] as string
}

describeWith(['busybox', 'skopeo', 'containerd', 'containerd2'], 'releases of containerd', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let peer: ShoalNode
  let reference: string

  const bytesSent = () => nodeMetric(peer, 'shoal_mirror_blob_bytes_sent_total')

  /** With the peer as the only way: the registry itself is out of reach for who reads hosts.toml. */
  const start = async (kind: ContainerdRelease, registryTable: string) => {
    const hosts = [{ registry: registryName(shoal), mirrors: [peer.mirrorUrl], server: 'http://127.0.0.1:1' }]
    return startContainerd(bed, { kind, registryTable, hosts })
  }

  beforeAll(async () => {
    shoal = await startShoal(bed, { nodes: 1 })
    peer = shoal.peers[0] as ShoalNode
    reference = `${registryName(shoal)}/app/hello:1`
    const image = await buildImage(await bed.folder('image'), { line: LINE, extraLayers: [{ sizeBytes: 1_000_000 }] })
    await skopeoCopy(image.ociReference, `docker://${reference}`)
  })

  test.each(RELEASES)('$release with version = $configVersion', async (kind) => {
    const containerd = await start(kind, await tableOfReadme(kind.configVersion))
    for (const pull of [() => containerd.criPull(reference), () => containerd.pull(reference)]) {
      const before = await bytesSent()
      await pull()
      expect((await bytesSent()) - before).toBeGreaterThan(1_000_000)
    }
    expect(await containerd.run(reference, CRI_NAMESPACE)).toBe(`${LINE}\n`)
  })

  test('what README warns of sends pulls past the peer', async () => {
    const list = (await tableOfReadme(4)).replace('certs.d"', 'certs.d:/etc/docker/certs.d"')
    const seen: boolean[] = []
    for (const table of [await tableOfReadme(2), list]) {
      const containerd = await start({ release: '2.x', configVersion: 4 }, table)
      const before = await bytesSent()
      await containerd.criPull(reference)
      seen.push((await bytesSent()) > before)
    }
    expect(seen).toEqual([false, false])
  })
})
