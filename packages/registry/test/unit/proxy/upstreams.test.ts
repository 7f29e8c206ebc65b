import { resolveConfig } from '@shoal/core/service'
import { describe, expect, it } from 'vitest'
import { registryService } from '../../../src/index.ts'
import { Upstreams } from '../../../src/proxy/upstreams.ts'

const UPSTREAMS = {
  'docker.io': {},
  'quay.io': { prefix: 'mirror/quay' },
  'registry.corp:5000': { prefix: 'corp' },
}
const none = async () => false
const upstreamsOf = (proxy: object) =>
  new Upstreams(resolveConfig(registryService.schema, [{ source: 'test', values: { proxy } }]).values.proxy)

describe('a repository', () => {
  const upstreams = upstreamsOf({ upstreams: UPSTREAMS, default: 'Docker.io', names: ['Own.example'] })
  const nameOf = (repository: string, ns?: string, isOurs = none) =>
    upstreams.nameOf({ repository, ns, host: 'cache.corp:5000' }, isOurs)

  it.each([
    ['library/nginx', 'docker.io', 'docker.io/library/nginx'],
    ['nginx', 'docker.io', 'docker.io/library/nginx'],
    ['coreos/etcd', 'quay.io', 'mirror/quay/coreos/etcd'],
    ['app', 'REGISTRY.corp:5000', 'corp/app'],
    ['app', 'own.example', 'app'],
    ['app', 'cache.corp:5000', 'app'],
    ['docker.io/nginx', undefined, 'docker.io/library/nginx'],
    ['mirror/quay/coreos/etcd', undefined, 'mirror/quay/coreos/etcd'],
    ['mirror/quayside', undefined, 'docker.io/mirror/quayside'],
    ['corp', undefined, 'docker.io/library/corp'],
  ])('%s, asked for as one of %s, is %s here', async (repository, ns, name) => {
    expect(await nameOf(repository, ns)).toBe(name)
  })

  it('of ours goes before the default upstream’s', async () => {
    expect(await nameOf('team/app', undefined, async () => true)).toBe('team/app')
  })

  it('of a registry that is no upstream is unknown', async () => {
    await expect(nameOf('app', 'ghcr.io')).rejects.toMatchObject({ code: 'NAME_UNKNOWN' })
  })

  it('may not get a name longer than names may be', async () => {
    await expect(nameOf('a'.repeat(250), 'docker.io')).rejects.toMatchObject({ code: 'NAME_INVALID' })
  })

  it('knows whose it is', () => {
    expect(upstreams.of('mirror/quay/coreos/etcd')).toEqual({ registry: 'quay.io', repository: 'coreos/etcd' })
    expect(upstreams.of('mirror/quayside')).toBeUndefined()
    expect(upstreams.globs).toEqual(['docker.io/**', 'mirror/quay/**', 'corp/**'])
  })
})

it.each([
  [{ upstreams: { 'a b': {} } }, 'proxy.upstreams.a b: write the key as host or host:port'],
  [{ upstreams: { 'host:5000': {} } }, 'proxy.upstreams.host:5000.prefix: "host:5000" can not begin'],
  [{ upstreams: { 'a.io': {}, 'b.io': { prefix: 'a.io/b' } } }, 'are not apart'],
  [{ upstreams: { 'a.io': { prefix: 'x/y' }, 'b.io': { prefix: 'x' } } }, 'are not apart'],
  [{ upstreams: { 'a.io': {} }, default: 'b.io' }, 'proxy.default: "b.io" is none of proxy.upstreams'],
])('%j is refused', (proxy, why) => {
  expect(() => upstreamsOf(proxy)).toThrow(why)
})

it('without upstreams nothing changes', () => {
  const upstreams = upstreamsOf({})
  expect(upstreams.isEmpty).toBe(true)
  expect(upstreams.retentionPolicy(168)).toBeUndefined()
})
