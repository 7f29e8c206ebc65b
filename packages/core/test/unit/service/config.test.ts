import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Type } from 'typebox'
import { describe, expect, it } from 'vitest'
import {
  adminOptions,
  environmentLayers,
  environmentVariables,
  logOptions,
  ownVariables,
  readConfigFile,
  refuseUnknownVariables,
  resolveConfig,
  settingLayer,
  withoutSecrets,
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

  it.each(['redis://user:hidden@host:6379', 'redis://:hid/den@host', 'user:hidden@host', ['http://hidden@host/a']])(
    'shows nothing of the credentials in %j, in errors or when it is printed',
    (url) => {
      expect(() => from({ admin: { port: url } })).toThrow(/\*\*\*@host/)
      expect(() => from({ admin: { port: url } })).not.toThrow(/hid/)
      const printed = JSON.stringify(
        withoutSecrets(schema, { dataDir: url, names: [url], origins: { a: { key: url } } }),
      )
      expect(printed).not.toContain('hid')
      expect(printed).toContain('***@host')
      expect(() => settingLayer(schema, String(url))).not.toThrow(/hid/)
    },
  )

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
    expect(() => refuse('SHOAL_ZZZZZZZZZZZZZZZZZZZ')).toThrow('docs/configuration.md lists all options')
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

describe('a config file', () => {
  const bomb = ['a: &a [x,x,x,x,x,x,x,x,x]', 'b: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]', 'c: [*b,*b,*b,*b,*b,*b,*b,*b,*b]']
  it.each([
    ['aliases, of which few make gigabytes', bomb.join('\n'), /it has aliases .*: write out what they stand for$/],
    ['an alias that nothing defines', 'a: *hunter2', /it has aliases/],
    ['lists without end', '['.repeat(100_000), /it can not be read|it is not YAML/],
    ['text that is no YAML', 'a: b\n"hunter2": c: d\n', /it is not YAML/],
    ['a stray text', '- a\nhunter2\n', /it is not YAML/],
  ])('with %s is refused on one line, which quotes nothing of it', async (_what, text, message) => {
    const folder = await mkdtemp(join(tmpdir(), 'shoal-config-'))
    const path = join(folder, 'x.yaml')
    await writeFile(path, text)
    const refused = await readConfigFile(path).catch((error: unknown) => error as Error & { code: string })
    await rm(folder, { recursive: true })
    expect(refused).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringMatching(message) })
    expect((refused as Error).message).toMatch(/^\S+x\.yaml: .*$/)
    expect((refused as Error).message).not.toContain('hunter2')
  })
})
