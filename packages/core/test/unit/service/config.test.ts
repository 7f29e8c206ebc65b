import { Type } from 'typebox'
import { describe, expect, it } from 'vitest'
import {
  adminOptions,
  environmentLayers,
  environmentVariables,
  logOptions,
  ownVariables,
  refuseUnknownVariables,
  resolveConfig,
  settingLayer,
} from '../../../src/service/index.ts'

const schema = Type.Object(
  {
    log: logOptions,
    admin: adminOptions(7401),
    dataDir: Type.String({ default: '/var/lib/shoal' }),
    origins: Type.Record(
      Type.String(),
      Type.Object(
        {
          url: Type.String(),
          retries: Type.Integer({ default: 3 }),
          key: Type.String({ default: '', writeOnly: true }),
        },
        { additionalProperties: false },
      ),
      { default: {} },
    ),
    names: Type.Array(Type.String(), { default: [] }),
  },
  { additionalProperties: false },
)

const from = (values: unknown) => resolveConfig(schema, [{ source: 'test.yaml', values }])

describe('config', () => {
  it('fills defaults at every depth', () => {
    const { values, sources } = from({ admin: { port: 1 } })
    expect(values).toEqual({
      log: { level: 'info' },
      admin: { host: '127.0.0.1', port: 1 },
      dataDir: '/var/lib/shoal',
      origins: {},
      names: [],
    })
    expect(sources.get('admin.port')).toBe('test.yaml')
    expect(sources.get('admin.host')).toBe('default')
  })

  it('fills defaults in the entries of records', () => {
    const { values } = from({ origins: { a: { url: 'x' }, b: { url: 'y', retries: 1 } } })
    expect(values.origins).toEqual({ a: { url: 'x', retries: 3, key: '' }, b: { url: 'y', retries: 1, key: '' } })
  })

  it('shows nothing of what is writeOnly, nor of a mapping that may hold such', () => {
    const messageOf = (origin: object) => {
      try {
        from({ origins: { 'a.b': origin } })
      } catch (error) {
        return (error as Error).message
      }
      return ''
    }
    expect(messageOf({ url: 'x', key: ['hidden'] })).toBe('test.yaml: origins.a.b.key must be string')
    expect(messageOf({ key: 'hidden' })).toBe('config: origins.a.b must have required properties url')
  })

  it.each([
    [{ admim: {} }, 'unknown key "admim"; did you mean "admin"?'],
    [{ admin: { prot: 1 } }, 'unknown key "admin.prot"; did you mean "admin.port"?'],
    [{ admin: { zzzzzzzz: 1 } }, 'known keys: host, port'],
    [
      { origins: { 'docker.io': { ur: 'x' } } },
      'unknown key "origins.docker.io.ur"; did you mean "origins.docker.io.url"?',
    ],
    [{ admin: { port: 70000 } }, 'admin.port must be <= 65535'],
    [{ log: { level: 'loud' } }, 'log.level'],
    [{ admin: 3 }, 'admin must be object'],
    [{ names: 'x' }, 'names must be array (found "x"): write a list, such as names: ["x"]'],
    [[], 'it must be a mapping'],
  ])('refuses %j and says what to do', (values, message) => {
    expect(() => from(values)).toThrow(message)
    expect(() => from(values)).toThrow('test.yaml')
  })

  it('lays environment and --set over the file, later over earlier', () => {
    const layers = [
      { source: 'test.yaml', values: { admin: { port: 1 }, dataDir: '/a' } },
      ...environmentLayers(schema, { SHOAL_ADMIN_PORT: '2', SHOAL_DATA_DIR: '/b', SHOAL_NAMES: 'x,y', PATH: '/bin' }),
      settingLayer(schema, 'admin.port=3'),
      settingLayer(schema, 'origins.localhost.url=http://localhost:5000'),
    ]
    const { values, sources } = resolveConfig(schema, layers)
    expect(values.admin.port).toBe(3)
    expect(values.dataDir).toBe('/b')
    expect(values.names).toEqual(['x', 'y'])
    expect(values.origins.localhost?.url).toBe('http://localhost:5000')
    expect(sources.get('dataDir')).toBe('SHOAL_DATA_DIR')
  })

  it('names the nearest variable for one that sets nothing', () => {
    const known = environmentVariables(schema)
    const refuse = (name: string) => refuseUnknownVariables(ownVariables({ [name]: '1', PATH: '/bin' }), known)
    expect(() => refuse('SHOAL_ADMIM_PORT')).toThrow(
      'SHOAL_ADMIM_PORT: no option has this variable; did you mean SHOAL_ADMIN_PORT?',
    )
    expect(() => refuse('SHOAL_ZZZZZZZZZZZZZZZZZZZ')).toThrow('config reference lists all options')
    for (const name of known) refuse(name)
  })

  it('leaves alone what Kubernetes sets for a Service of the same name', () => {
    const links = {
      SHOAL_ADMIN_PORT: 'tcp://10.0.0.7:7401',
      SHOAL_ADMIN_PORT_7401_TCP: 'tcp://10.0.0.7:7401',
      SHOAL_ADMIN_PORT_7401_TCP_PORT: '7401',
      SHOAL_ADMIN_SERVICE_HOST: '10.0.0.7',
      SHOAL_ADMIN_SERVICE_PORT_HTTP: '7401',
      SHOAL_PORT: 'tcp://[fd00::7]:5000',
    }
    expect(ownVariables({ ...links, SHOAL_LOG_LEVEL: 'info' })).toEqual(['SHOAL_LOG_LEVEL'])
    expect(environmentLayers(schema, links)).toEqual([])
  })

  it('names the source of a bad environment variable', () => {
    const layers = environmentLayers(schema, { SHOAL_ADMIN_PORT: 'many' })
    expect(() => resolveConfig(schema, layers)).toThrow(
      /SHOAL_ADMIN_PORT: admin\.port must be integer \(found "many"\)/,
    )
  })
})
