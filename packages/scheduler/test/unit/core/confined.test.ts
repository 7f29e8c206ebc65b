import { expect, it } from 'vitest'
import { Cluster, DIGEST } from './cluster.ts'

it('a node that only its own machine can reach sends to nodes on it, and to no others', () => {
  const cluster = new Cluster()
  const confined = cluster.up('confined', 'peer', 64, {}, { isLocal: true, isConfined: true })
  const beside = cluster.up('beside', 'peer', 64, {}, { isLocal: true })
  const [outside, other] = [cluster.up('outside'), cluster.up('other')]
  cluster.holding(confined, 8)
  cluster.holding(other, 8)
  const swarm = cluster.join(outside, 8)
  cluster.run()
  expect(cluster.hasAll(outside, swarm)).toBe(true)
  expect([confined.sent, other.sent]).toEqual([0, 8])
  cluster.down(other)
  cluster.down(outside)
  cluster.join(beside, 8)
  cluster.run()
  expect(cluster.hasAll(beside, swarm)).toBe(true)
  expect(confined.sent).toBe(8)
})

it('a seed that only its own machine can reach fetches for those who can have it from there', () => {
  const cluster = new Cluster()
  const confined = cluster.up('confined', 'seed', 64, {}, { isLocal: true, isConfined: true })
  const outside = cluster.up('outside')
  const swarm = cluster.join(outside, 8)
  cluster.run()
  expect(cluster.leases.map(({ node }) => node)).toEqual([outside.index])
  expect(cluster.hasAll(outside, swarm)).toBe(true)
  const beside = cluster.up('beside', 'peer', 64, {}, { isLocal: true })
  cluster.join(beside, 8, `sha256:${'c'.repeat(64)}`)
  cluster.run()
  expect(cluster.leases.at(-1)?.node).toBe(confined.index)
  expect(confined.held.get(DIGEST)).toBeUndefined()
})
