import { once } from 'node:events'
import { readdir, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { freePort } from '@shoal/bench'
import { digestOf } from '@shoal/core'
import { beforeAll, describe, expect, test } from 'vitest'
import { httpExpect } from './kit/http.ts'
import { run } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { type Shoal, type ShoalNode, startShoal } from './kit/shoal.ts'
import { createTestBed } from './kit/test-bed.ts'

const shoalCommand = (...args: string[]) => run(process.execPath, [SHOAL_PROGRAM, ...args], { timeoutMs: 30_000 })

describe('commands that can not do what they are told', () => {
  const bed = createTestBed()

  test.each(['registry', 'scheduler', 'seed', 'peer'])('%s: an unknown key names the nearest one', async (service) => {
    const config = join(await bed.folder('config'), 'c.yaml')
    await writeFile(config, 'logg:\n  level: info\n')
    await expect(shoalCommand(service, '--config', config)).rejects.toThrow(
      new RegExp(`code 1(.|\\n)*shoal: ${config}: unknown key "logg"; did you mean "log"\\?`),
    )
  })

  test.each([
    [['peer', '--config', '/none.yaml'], /code 1(.|\n)*can not read the config file \/none\.yaml/],
    [['peer', '--set', 'lane.port=x'], /code 1(.|\n)*--set lane\.port: lane\.port must be integer \(found "x"\)/],
    [['peer', '--set', 'lane'], /code 1(.|\n)*write --set key=value/],
    [['peer', '--set', 'schedulers=a'], /code 1(.|\n)*schedulers: "a" is not host:port; write for example/],
    [['peer', '--set', 'schedulers=A:1,a:1'], /code 1(.|\n)*schedulers: a:1 is named twice/],
    [['up', '--nodes', '99'], /code 2(.|\n)*write a whole number from 1 to 9/],
    [
      ['up', '--nodes', '9', '--seeds', '1'],
      /code 1(.|\n)*peer-8 needs the port 7490, and so does seed-0: start fewer/,
    ],
    [['up', '--registry-port', '70000'], /code 2(.|\n)*write a whole number from 1 to 65535/],
    [['pull', 'BAD'], /code 1(.|\n)*"BAD" is not an image reference/],
    [['pull', 'a', '--node', 'http://127.0.0.1:1'], /code 1(.|\n)*no node answers at http:\/\/127\.0\.0\.1:1/],
    [['nonsense'], /code 2(.|\n)*unknown command 'nonsense'/],
  ])('shoal %j', async (args, message) => {
    await expect(shoalCommand(...args)).rejects.toThrow(message)
  })

  test.each([
    ['SHOAL_MIROR_PORT', ['peer'], /did you mean SHOAL_MIRROR_PORT\?/],
    ['SHOAL_MIROR_PORT', ['up'], /did you mean SHOAL_MIRROR_PORT\?/],
    ['SHOAL_PORT', ['up'], /SHOAL_PORT would put a part of the network where (.|\n)*--registry-port/],
  ])('the variable %s for %j', async (name, args, message) => {
    const env = { [name]: '5050' }
    await expect(run(process.execPath, [SHOAL_PROGRAM, ...args], { env, timeoutMs: 30_000 })).rejects.toThrow(message)
  })

  test.each(['registry', 'scheduler', 'seed', 'peer'])('%s: a port in use is named', async (service) => {
    const taken = createServer().listen(0, '127.0.0.1')
    await once(taken, 'listening')
    const { port } = taken.address() as { port: number }
    const dataDir = await bed.folder('data')
    const free = async () => String(await freePort())
    const key = { registry: 'port', scheduler: 'grpc.port', seed: 'mirror.port', peer: 'lane.port' }[service]
    const others = {
      registry: [`dataDir=${dataDir}`, `metrics.port=${await free()}`],
      scheduler: [`admin.port=${await free()}`],
      seed: [
        `dataDir=${dataDir}`,
        `lane.port=${await free()}`,
        `libp2p.port=${await free()}`,
        `admin.port=${await free()}`,
      ],
      peer: [`dataDir=${dataDir}`, 'lane.host=127.0.0.1', `libp2p.port=${await free()}`, `admin.port=${await free()}`],
    }[service]
    const settings = [`${key}=${port}`, ...(others ?? [])].flatMap((setting) => ['--set', setting])
    await expect(shoalCommand(service, ...settings)).rejects.toThrow(
      new RegExp(`code 1(.|\\n)*can not listen on 127\\.0\\.0\\.1:${port}: the port is in use`),
    )
    taken.close()
  })

  test.each(['registry', 'seed', 'peer'])('%s: a data folder that can not be written is named', async (service) => {
    const file = join(await bed.folder('file'), 'file')
    await writeFile(file, '')
    await expect(shoalCommand(service, '--set', `dataDir=${file}/data`)).rejects.toThrow(
      new RegExp(`code 1(.|\\n)*shoal: cannot write to the data folder ${file}/data \\(ENOTDIR\\)`),
    )
  })

  test.each(['up', 'registry', 'seed', 'peer'])('%s: a data folder under /proc is refused', async (service) => {
    const where = service === 'up' ? ['--data', '/proc/none/a'] : ['--set', 'dataDir=/proc/none/a']
    await expect(shoalCommand(service, ...where)).rejects.toThrow(
      /code 1(.|\n)*shoal: cannot write to the data folder \/proc\/none\/a \(ENOENT\)/,
    )
  })

  test('up: a port in use is named before anything starts', async () => {
    const taken = createServer().listen(7411, '127.0.0.1')
    await once(taken, 'listening')
    const data = join(await bed.folder('data'), 'new')
    await expect(shoalCommand('up', '--data', data, '--nodes', '1')).rejects.toThrow(
      /code 1(.|\n)*the port 7411 on 127\.0\.0\.1, which peer-0 needs, is in use: (.|\n)*--peer-port/,
    )
    taken.close()
    await expect(readdir(data)).rejects.toThrow('ENOENT')
  })

  test('up: a part that cannot start is named, and nothing is left running', async () => {
    const args = ['up', '--data', await bed.folder('data'), '--nodes', '1']
    const env = { SHOAL_LANE_UPLOAD_SLOTS: '0' }
    await expect(run(process.execPath, [SHOAL_PROGRAM, ...args], { env, timeoutMs: 60_000 })).rejects.toThrow(
      /code 1(.|\n)*(seed|peer)-0 could not start: SHOAL_LANE_UPLOAD_SLOTS: lane\.uploadSlots must be >= 1/,
    )
    for (const port of [5000, 7400, 7410, 7490]) {
      const server = createServer().listen(port, '127.0.0.1')
      await once(server, 'listening')
      server.close()
    }
  })
})

describe('requests that can not be answered', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let mirror: string
  let dataFolder: string

  beforeAll(async () => {
    dataFolder = await bed.folder('data')
    shoal = await startShoal(bed, { nodes: 1, dataFolder })
    mirror = (shoal.peers[0] as ShoalNode).mirrorUrl
  })

  const errorOf = async (url: string, status: number, options = {}) => {
    const { body } = await httpExpect(url, [status], options)
    return JSON.parse(body.toString()).errors[0]
  }

  test('a push with a wrong digest leaves nothing', async () => {
    const start = await httpExpect(`${shoal.registry.url}/v2/wrong/blobs/uploads/`, [202], { method: 'POST' })
    const location = new URL(start.headers.location ?? '', shoal.registry.url)
    location.searchParams.set('digest', digestOf('right'))
    const error = await errorOf(String(location), 400, {
      method: 'PUT',
      body: 'wrong',
      headers: { 'content-length': 5 },
    })
    expect(error.code).toBe('DIGEST_INVALID')
    expect(error.message).toContain(digestOf('wrong'))
    await httpExpect(`${shoal.registry.url}/v2/wrong/blobs/${digestOf('right')}`, [404])
    await httpExpect(`${shoal.registry.url}/v2/wrong/blobs/${digestOf('wrong')}`, [404])
    const blobs = join(dataFolder, 'registry/docker/registry/v2/blobs')
    const files = await readdir(blobs, { recursive: true }).catch(() => [])
    expect(files.filter((name) => name.endsWith('/data'))).toEqual([])
  })

  test.each([
    ['a bad digest', '/v2/a/blobs/sha256:1', 400, 'DIGEST_INVALID'],
    ['a bad name', '/v2/A/manifests/x', 400, 'NAME_INVALID'],
    ['an unknown image', '/v2/none/manifests/x', 404, 'MANIFEST_UNKNOWN'],
    ['an unknown blob', `/v2/none/blobs/${digestOf('none')}`, 404, 'BLOB_UNKNOWN'],
    ['a bad registry', '/v2/a/manifests/x?ns=http://x', 400, 'NAME_INVALID'],
    ['an address that is not listed', '/v2/a/manifests/x?ns=169.254.169.254', 403, 'DENIED'],
    ['an origin that can not be reached', '/v2/a/manifests/x?ns=unreachable.invalid', 503, 'UNAVAILABLE'],
  ])('the mirror, asked for %s', async (_what, path, status, code) => {
    const error = await errorOf(mirror + path, status)
    expect(error.code).toBe(code)
    expect(error.message.length).toBeGreaterThan(20)
  })

  test('the mirror, pushed to', async () => {
    const error = await errorOf(`${mirror}/v2/a/blobs/uploads/`, 405, { method: 'POST' })
    expect(error.message).toContain('push to the registry itself')
  })

  test.each([
    ['a bad digest', 'GET', '/v2/a/blobs/sha256:1', 400, 'DIGEST_INVALID'],
    ['a bad name', 'GET', '/v2/A/manifests/x', 400, 'NAME_INVALID'],
    ['an unknown blob', 'GET', `/v2/a/blobs/${digestOf('none')}`, 404, 'BLOB_UNKNOWN'],
    ['a manifest that is none', 'PUT', '/v2/a/manifests/x', 400, 'MANIFEST_INVALID'],
  ])('the registry, sent %s', async (_what, method, path, status, code) => {
    const error = await errorOf(
      shoal.registry.url + path,
      status,
      method === 'PUT' ? { method, body: '{}' } : { method },
    )
    expect(error.code).toBe(code)
    expect(error.message.length).toBeGreaterThan(10)
  })
})
