import type { NodeCommand } from '@shoal/proto'
import { describe, expect, it } from 'vitest'
import { LEAST_SHARE, OriginBudget } from '../../../src/coordination/origin-budget.ts'
import type { Role } from '../../../src/core/nodes.ts'
import { Cluster } from '../core/cluster.ts'

const MIB = 1024 * 1024
const digestOf = (i: number) => `sha256:${`${i}`.padStart(64, '0')}`

/** A cluster of whose nodes each hears its share. */
function world(bytesPerSecond: number) {
  const cluster = new Cluster({ originMs: 1_000 })
  const budget = new OriginBudget(bytesPerSecond)
  const sessions = new Map<
    number,
    { said: [number, number][]; tell(command: NonNullable<NodeCommand['command']>): void }
  >()
  const up = (name: string, role: Role = 'peer') => {
    const member = cluster.up(name, role)
    const said: [number, number][] = []
    const session = {
      said,
      tell(command: NonNullable<NodeCommand['command']>) {
        if (command.$case !== 'originBudget') throw new Error(`${command.$case} is no share`)
        said.push([command.value.bytesPerSecond, command.value.aloneBytesPerSecond])
      },
    }
    sessions.set(member.index, session)
    budget.greet(session)
    return { member, said }
  }
  const tick = () => {
    cluster.core.setTime(cluster.now)
    const { lessees } = cluster.core.tick()
    budget.share(cluster.core, lessees, (node) => sessions.get(node))
  }
  return { cluster, up, tick, sessions }
}

describe('what the cluster may fetch from origins', () => {
  it('is shared by those that fetch for all, by their leases, and an eighth of it by each other node', () => {
    const { cluster, up, tick } = world(80 * MIB)
    const seeds = [up('seed-0', 'seed'), up('seed-1', 'seed')] as const
    const peers = Array.from({ length: 10 }, (_, i) => up(`peer-${i}`))
    const [reader] = peers as [(typeof peers)[0]]
    expect(seeds[0].said).toEqual([[10 * MIB, 10 * MIB]])
    expect(peers[9]?.said).toEqual([[10 * MIB, 10 * MIB]])
    for (let i = 0; i < 3; i++) cluster.join(reader.member, 20, digestOf(i))
    tick()
    const shares = seeds.map(({ said }) => said.at(-1)?.[0] as number).sort((a, b) => a - b)
    expect(shares).toEqual([Math.floor((80 * MIB) / 3), Math.floor((160 * MIB) / 3)])
    expect(reader.said).toHaveLength(1)
  })

  it('is all for the one that has the only lease, and the usual part once that has ended', () => {
    const { cluster, up, tick } = world(80 * MIB)
    const { member, said } = up('peer-0')
    const swarm = cluster.join(member, 20, digestOf(0))
    tick()
    expect(said.at(-1)).toEqual([80 * MIB, 10 * MIB])
    cluster.core.leaseFailed(member.index, swarm, 'unavailable')
    tick()
    expect(said.at(-1)).toEqual([10 * MIB, 10 * MIB])
  })

  it('is never so little for a node that others would take it for broken', () => {
    const { cluster, up, tick } = world(LEAST_SHARE)
    const { member, said } = up('peer-0')
    for (let i = 0; i < 3; i++) cluster.join(member, 20, digestOf(i))
    tick()
    expect(said).toEqual([[LEAST_SHARE, LEAST_SHARE]])
  })

  it('is nothing that nodes hear of when there is no limit', () => {
    const { cluster, up, tick } = world(0)
    const { member, said } = up('peer-0')
    cluster.join(member, 20, digestOf(0))
    tick()
    expect(said).toEqual([])
  })

  it('forgets a node that is gone, also where another has its index by then', () => {
    const { cluster, up, tick, sessions } = world(80 * MIB)
    const first = up('peer-0')
    cluster.join(first.member, 20, digestOf(0))
    tick()
    cluster.down(first.member)
    sessions.delete(first.member.index)
    const second = up('peer-1')
    expect(second.member.index).toBe(first.member.index)
    tick()
    expect(second.said).toEqual([[10 * MIB, 10 * MIB]])
  })
})
