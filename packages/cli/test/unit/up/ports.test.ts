import { once } from 'node:events'
import { type AddressInfo, createServer } from 'node:net'
import { describe, expect, it } from 'vitest'
import { DEFAULT_PORTS, layOut } from '../../../src/up/layout.ts'
import { checkPorts, portsOf } from '../../../src/up/ports.ts'

const lay = (counts: Partial<Parameters<typeof layOut>[1]>) =>
  layOut('/data', { schedulers: 1, seeds: 1, nodes: 1, ...DEFAULT_PORTS, ...counts }, 'info')

describe('ports of shoal up', () => {
  it('are those of all doors', () => {
    const all = lay({ nodes: 2, registryPort: 6000 }).map((member) => [member.name, portsOf(member)])
    expect(Object.fromEntries(all)).toEqual({
      registry: [6000, 6001],
      scheduler: [7400, 7401],
      'seed-0': [7490, 7491, 7492, 7493],
      'peer-0': [7410, 7411, 7412, 7413],
      'peer-1': [7420, 7421, 7422, 7423],
    })
  })

  it('move the registry for all that name it', () => {
    const [registry, , seed] = lay({ registryPort: 6000 })
    expect(registry?.options).toMatchObject({ port: 6000, metrics: { port: 6001 } })
    expect(seed?.options).toMatchObject({
      mirror: { defaultRegistry: '127.0.0.1:6000' },
      origins: {
        '127.0.0.1:6000': { url: 'http://127.0.0.1:6000' },
        'localhost:6000': { url: 'http://127.0.0.1:6000' },
      },
    })
  })

  it.each([
    [{ nodes: 9 }, 'peer-8 needs the port 7490, and so does seed-0: start fewer, or choose others with --peer-port'],
    [{ registryPort: 7400 }, 'scheduler needs the port 7400, and so does registry'],
    [{ peerPort: 65535 }, 'peer-0 needs the port 65536, which does not exist'],
    [{ seedPort: 5, seeds: 2 }, 'seed-1 needs the port -5, which does not exist'],
  ])('%j: %s', async (counts, message) => {
    await expect(checkPorts(lay(counts))).rejects.toThrow(message)
  })

  it('say which one is in use, by whom it is needed, and how to choose another', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as AddressInfo
    await expect(checkPorts(lay({ registryPort: port }).slice(0, 1))).rejects.toThrow(
      `the port ${port} on 127.0.0.1, which registry needs, is in use: stop what uses it (ss -ltnp 'sport = :${port}' names it), or choose another one with --registry-port`,
    )
    taken.close()
  })
})
