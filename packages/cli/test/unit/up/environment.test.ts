import { describe, expect, it } from 'vitest'
import { environmentsOf } from '../../../src/up/environment.ts'
import { DEFAULT_PORTS, layOut } from '../../../src/up/layout.ts'

const members = layOut('/data', { schedulers: 1, seeds: 1, nodes: 1, ...DEFAULT_PORTS }, 'info')

describe('environment of shoal up', () => {
  it('gives each service its own variables and what is not ours', async () => {
    const rest = { PATH: '/bin', SHOAL_PORT: 'tcp://10.0.0.7:5000' }
    const environment = { ...rest, SHOAL_LOG_LEVEL: 'debug', SHOAL_STORE_QUOTA_BYTES: '1', SHOAL_GC_GRACE_HOURS: '1' }
    const { registry, scheduler, peer } = await environmentsOf(members, environment)
    expect(registry).toEqual({ ...rest, SHOAL_LOG_LEVEL: 'debug', SHOAL_GC_GRACE_HOURS: '1' })
    expect(scheduler).toEqual({ ...rest, SHOAL_LOG_LEVEL: 'debug' })
    expect(peer).toEqual({ ...rest, SHOAL_LOG_LEVEL: 'debug', SHOAL_STORE_QUOTA_BYTES: '1' })
  })

  it.each([
    'SHOAL_PORT',
    'SHOAL_MIRROR_PORT',
    'SHOAL_NAME',
    'SHOAL_SCHEDULERS',
    'SHOAL_DATA_DIR',
    'SHOAL_METRICS_PORT',
  ])('refuses %s, which would part the network', async (name) => {
    await expect(environmentsOf(members, { [name]: '1' })).rejects.toThrow(`${name} would put a part of the network`)
  })

  it('refuses what no service knows', async () => {
    await expect(environmentsOf(members, { SHOAL_MIROR_PORT: '1' })).rejects.toThrow('did you mean SHOAL_MIRROR_PORT?')
  })
})
