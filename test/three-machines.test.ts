import { createHash } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { stringify } from 'yaml'
import { Clocks } from './chaos/clocks.ts'
import { commandOn, connectMachines, type Machine } from './kit/machines.ts'
import { parseSeries, sumSeries } from './kit/metrics.ts'
import { describeWith } from './kit/missing.ts'
import { type Launched, launch, run } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { randomContent } from './kit/random-content.ts'
import { createTestBed } from './kit/test-bed.ts'

const MIB = 1024 * 1024
const FIRST: Machine = { name: 'first', addresses: ['10.77.0.1/24', 'fd77::1/64'] }
const LATE: Machine = { name: 'late', addresses: ['10.77.0.2/24', 'fd77::2/64'] }
const SIX: Machine = { name: 'six', addresses: ['fd77::3/64'] }
const LATE_SECONDS = -2 * 3600
const REGISTRY = '[fd77::1]:5000'

describeWith(
  ['namespaces'],
  'three machines: one beside the scheduler, one whose clock is late, one with IPv6 only',
  () => {
    const bed = createTestBed()
    const content = Buffer.concat([...randomContent('three machines', 8 * MIB)])
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`
    const nodes = new Map<Machine, Launched>()
    let folder: string

    beforeAll(async () => {
      folder = await bed.folder('machines')
      await connectMachines(bed, [FIRST, LATE, SIX])
      const clocks = await Clocks.make(folder)
      const registry = { host: '::', port: 5000, metrics: { host: '127.0.0.1', port: 5001 } }
      await service(FIRST, 'registry', { ...registry, dataDir: join(folder, 'registry') }, 5001)
      await service(FIRST, 'scheduler', { grpc: { host: '::', port: 7400 } }, 7401)
      for (const machine of [FIRST, LATE, SIX]) {
        // Its own name leads to 127.0.1.1, so the scheduler sees this node there.
        const schedulers = machine === FIRST ? ['first:7400'] : ['[fd77::1]:7400']
        const options = {
          name: machine.name,
          schedulers,
          dataDir: join(folder, machine.name),
          mirror: { defaultRegistry: 'hub.test' },
          origins: { 'hub.test': { url: `http://${REGISTRY}` } },
        }
        const place = { name: machine.name } as Parameters<Clocks['launcher']>[0]
        const launcher = machine === LATE ? clocks.launcher(place) : []
        if (machine === LATE) clocks.set(place, LATE_SECONDS)
        nodes.set(machine, await service(machine, 'peer', options, 7413, launcher))
      }
      await writeFile(join(folder, 'content'), content)
      const upload = await curl(FIRST, ['-D', '-', '-X', 'POST', `http://${REGISTRY}/v2/app/blobs/uploads/`])
      const [, location = ''] = /^location: (\S+)/im.exec(upload) ?? []
      const to = new URL(location, `http://${REGISTRY}`)
      to.searchParams.set('digest', digest)
      await curl(FIRST, ['-X', 'PUT', '--data-binary', `@${join(folder, 'content')}`, to.href])
    })

    afterAll(() => bed.tearDown())

    test('pull through each other, and the origin sends one copy', async () => {
      for (const machine of [LATE, FIRST, SIX]) {
        const file = join(folder, `pulled-${machine.name}`)
        const url = `http://127.0.0.1:7410/v2/app/blobs/${digest}`
        await curl(machine, ['-o', file, url])
        expect(await sha256sum(file)).toBe(digest)
        // Nobody waited for others until a deadline, and went to the origin then.
        expect(await metric(machine, 7413, 'shoal_node_origin_fallbacks_total')).toBe(0)
      }
      expect(await metric(FIRST, 5001, 'shoal_registry_blob_bytes_sent_total')).toBe(content.length)
    })

    test('no log speaks of a wrong piece, and the late clock is named', () => {
      for (const node of nodes.values()) expect(node.output.text()).not.toContain('wrong piece')
      const told = [FIRST, SIX].map((machine) => nodes.get(machine)?.output.text() ?? '')
      expect(told.some((text) => text.includes('the clock of a node is more than a minute'))).toBe(true)
    })

    test('each shows where the others reach it, and nothing else', async () => {
      for (const machine of [FIRST, LATE, SIX]) {
        const shown = JSON.parse(await curl(machine, ['http://127.0.0.1:7413/api/v1/node'])) as {
          libp2pAddresses: string[]
        }
        const hosts = shown.libp2pAddresses.map((address) => address.split('/')[2])
        expect(hosts).toEqual(machine.addresses.map((address) => address.split('/')[0]))
      }
    })

    async function service(
      machine: Machine,
      name: string,
      options: object,
      adminPort: number,
      launcher: readonly string[] = [],
    ): Promise<Launched> {
      const config = join(folder, `${machine.name}-${name}.yaml`)
      await writeFile(config, stringify(options))
      const line = [...launcher, process.execPath, SHOAL_PROGRAM, name, '--config', config]
      const [command, args] = commandOn(machine, line[0] ?? '', line.slice(1))
      const program = bed.use(await launch(`${name} on ${machine.name}`, command, args))
      await program.waitUntil('answer of its admin door', async () => {
        await curl(machine, [`http://127.0.0.1:${adminPort}/readyz`])
        return true
      })
      return program
    }

    async function curl(machine: Machine, args: readonly string[]): Promise<string> {
      return (await run(...commandOn(machine, 'curl', ['-sSfg', '--max-time', '60', ...args]))).stdout
    }

    async function metric(machine: Machine, port: number, name: string): Promise<number> {
      return sumSeries(parseSeries(await curl(machine, [`http://127.0.0.1:${port}/metrics`])), name)
    }

    async function sha256sum(file: string): Promise<string> {
      return `sha256:${(await run('sha256sum', [file])).stdout.split(' ')[0]}`
    }
  },
)
