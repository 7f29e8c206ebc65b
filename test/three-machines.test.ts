/**
 * Three machines, set up as README says and no further: one whose own name is a loopback address to it, one whose clock is
 * two hours behind, one without IPv4. Each pulls from the others what these have.
 */
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { Clocks } from './chaos/clocks.ts'
import { buildImage } from './kit/images.ts'
import { type Machine, startMachines } from './kit/machines.ts'
import { parseSeries, sumSeries } from './kit/metrics.ts'
import { describeWith } from './kit/missing.ts'
import type { Launched } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { type Containerd, startContainerd } from './kit/runtimes/containerd.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const LAYER_BYTES = 8 * MIB
const REGISTRY = 'one:5000'
const BEHIND_SECONDS = -2 * 3600
const NAMES = ['one', 'two', 'three'] as const
type Name = (typeof NAMES)[number]

describeWith(['busybox', 'skopeo', 'containerd', 'namespaces', 'cc'], 'three machines set up from README alone', () => {
  const bed = createTestBed()
  const machines = new Map<Name, { machine: Machine; peer: Launched; containerd: Containerd }>()
  const at = (name: Name) => machines.get(name) as { machine: Machine; peer: Launched; containerd: Containerd }

  /** A service with the configuration that README has for it, in a data folder of its own. */
  const start = async (machine: Machine, service: string, launcher: readonly string[] = []) => {
    const readme = await readFile(join(import.meta.dirname, '../README.md'), 'utf8')
    const blocks = [...readme.matchAll(/```yaml\n# (\w+)\.yaml, on [^\n]*\n([^`]*)```/g)]
    const yaml = blocks.find(([, name]) => name === service)?.[2] ?? ''
    expect(yaml).not.toBe('')
    const folder = await bed.folder(`${service}-${machine.name}`)
    const config = join(folder, `${service}.yaml`)
    const hasData = service === 'scheduler' ? {} : { dataDir: join(folder, 'data') }
    await writeFile(config, stringify({ ...parse(yaml), ...hasData }))
    const command = [...launcher, process.execPath, SHOAL_PROGRAM, service, '--config', config]
    const program = bed.use(await machine.launch(service, command))
    await program.waitForLine(/"msg":"started"/)
    return program
  }

  /** Piece bytes that the peer of a machine got, by who sent them. */
  const received = async (name: Name) => {
    const series = parseSeries(await at(name).machine.get('http://127.0.0.1:7413/metrics'))
    const from = (source: string) => sumSeries(series, 'shoal_node_piece_bytes_total', { source })
    return { peer: from('peer'), origin: from('origin') }
  }

  const push = async (name: string) => {
    const image = await buildImage(await bed.folder('image'), {
      line: name,
      extraLayers: [{ sizeBytes: LAYER_BYTES, seed: name }],
    })
    const copy = ['skopeo', '--insecure-policy', 'copy', '--dest-tls-verify=false', image.ociReference]
    await at('one').machine.run([...copy, `docker://${REGISTRY}/${name}:1`])
  }

  beforeAll(async () => {
    const clocks = await Clocks.make(await bed.folder('clocks'))
    const [one, two, three] = (await startMachines(bed, [
      { name: 'one', ipv4: '10.77.0.1', ipv6: 'fd77::1' },
      { name: 'two', ipv4: '10.77.0.2', ipv6: 'fd77::2' },
      { name: 'three', ipv6: 'fd77::3' },
    ])) as [Machine, Machine, Machine]
    await start(one, 'registry')
    await start(one, 'scheduler')
    for (const [name, machine, launcher] of [
      ['one', one, []],
      ['two', two, clocks.launcher({ name: 'two' }, BEHIND_SECONDS)],
      ['three', three, []],
    ] as const) {
      const peer = await start(machine, 'peer', launcher)
      await peer.waitUntil('scheduler', async () => {
        const node = JSON.parse(await machine.get('http://127.0.0.1:7413/api/v1/node'))
        return node.schedulers.every((scheduler: { isConnected: boolean }) => scheduler.isConnected)
      })
      const hosts = [{ registry: REGISTRY, mirrors: ['http://127.0.0.1:7410'], server: `http://${REGISTRY}` }]
      const containerd = await startContainerd(bed, { name, hosts, launcher: machine.launcher })
      machines.set(name, { machine, peer, containerd })
    }
  })

  test('they are as they are meant to be', async () => {
    expect(await at('one').machine.run(['getent', 'hosts', 'one'])).toMatch(/^127\.0\.1\.1 /)
    expect(await at('three').machine.run(['ip', '-4', 'address', 'show', 'dev', 'eth0'])).toBe('')
    const [, time = ''] = /"time":"([^"]+)"/.exec(at('two').peer.output.text()) ?? []
    expect((Date.now() - Date.parse(time)) / 1000).toBeGreaterThan(7000)
  })

  test.each(NAMES)('what %s pulled first comes from it to the other two', async (first) => {
    const image = `from-${first}`
    await push(image)
    const pulled = async (name: Name) => {
      const before = await received(name)
      await at(name).containerd.criPull(`${REGISTRY}/${image}:1`)
      const after = await received(name)
      return { peer: after.peer - before.peer, origin: after.origin - before.origin }
    }
    const fromOrigin = await pulled(first)
    expect(fromOrigin.peer).toBe(0)
    expect(fromOrigin.origin).toBeGreaterThan(LAYER_BYTES)
    for (const name of NAMES.filter((other) => other !== first)) {
      expect({ name, ...(await pulled(name)) }).toEqual({ name, peer: fromOrigin.origin, origin: 0 })
    }
  })

  test('nobody was blamed for a wrong piece', () => {
    const blamed = NAMES.flatMap((name) =>
      at(name)
        .peer.output.text()
        .split('\n')
        .filter((line) => /wrong piece/.test(line)),
    )
    expect(blamed.slice(0, 3)).toEqual([])
  })
})
