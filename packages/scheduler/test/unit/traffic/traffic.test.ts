import { describe, expect, it } from 'vitest'
import { ORIGIN } from '../../../src/core/events.ts'
import { Swarm } from '../../../src/core/swarm.ts'
import { Rates } from '../../../src/traffic/rates.ts'
import { Traffic } from '../../../src/traffic/traffic.ts'

const MIB = 1024 * 1024

describe('rates', () => {
  it('show an even flow as it is, and forget it', () => {
    const rates = new Rates()
    for (let now = 0; now <= 60_000; now += 100) rates.add(3, 1000, now)
    expect(rates.perSecond(3, 60_000)).toBeGreaterThan(9_900)
    expect(rates.perSecond(3, 60_000)).toBeLessThan(10_200)
    expect(rates.perSecond(3, 65_000)).toBeLessThan(4_000)
    expect(rates.perSecond(3, 180_000)).toBeLessThan(1)
    expect(rates.perSecond(1_000, 0)).toBe(0)
    rates.add(40, 5, 0)
    rates.reset(3)
    expect(rates.perSecond(3, 60_000)).toBe(0)
  })
})

describe('traffic', () => {
  it('tells what crossed a zone from what did not', () => {
    const traffic = new Traffic(() => 0)
    const swarm = new Swarm(1, 'sha256:a', 10 * MIB, { controlMs: 0, msPerByte: 1 })
    traffic.nodeUp(0, 'a')
    traffic.nodeUp(1, 'a')
    traffic.nodeUp(2, 'b')
    traffic.arrived(swarm, 0, ORIGIN, MIB, 0)
    traffic.arrived(swarm, 1, 0, MIB, 0)
    traffic.arrived(swarm, 2, 0, MIB, 0)
    expect(traffic.crossZoneBytes).toBe(MIB)
    expect(traffic.ofSwarm(swarm)).toEqual({ crossZoneBytes: MIB, bytesPerSecond: (3 * MIB) / 5 })
    expect(traffic.ofNode(0)).toEqual({ up: (2 * MIB) / 5, down: MIB / 5 })
    expect([...traffic.zones.all]).toEqual([
      { name: 'a', nodes: 2, bytesIn: 0, bytesOut: MIB },
      { name: 'b', nodes: 1, bytesIn: MIB, bytesOut: 0 },
    ])
    traffic.nodeDown(2)
    traffic.nodeUp(2, 'a')
    expect(traffic.ofNode(2).down).toBe(0)
    expect(traffic.zones.live).toBe(1)
  })

  it('counts nodes of too many zones together', () => {
    const traffic = new Traffic(() => 0)
    for (let node = 0; node < 1_000; node++) traffic.nodeUp(node, `zone ${node}`)
    const zones = [...traffic.zones.all]
    expect(zones).toHaveLength(257)
    expect(zones.at(-1)).toMatchObject({ name: '(others)', nodes: 744 })
  })
})
