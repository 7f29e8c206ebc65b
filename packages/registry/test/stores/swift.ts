import { execFile } from 'node:child_process'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { ini } from './ini.ts'
import { freePort, type ServerProcess, startProgram, untilAnswers } from './server.ts'

const run = promisify(execFile)
const STORAGE = ['account', 'container', 'object'] as const
const DEVICES = ['d1', 'd2', 'd3'] as const
const FILTERS = ['catch_errors', 'gatekeeper', 'healthcheck', 'listing_formats', 'tempurl', 'copy', 'slo', 'dlo']

/** What must be installed for it. */
export const SWIFT_PROGRAMS = [
  'memcached',
  'swift-ring-builder',
  'swift-proxy-server',
  ...STORAGE.map((name) => `swift-${name}-server`),
]

/** Who lets a Swift's clients in. */
export interface SwiftAuth {
  /** The proxy's filters for it, in the order of its pipeline. */
  readonly filters: Readonly<Record<string, Readonly<Record<string, string>>>>
  /** Logs in as somebody who may make containers. */
  logIn(swiftUrl: string): Promise<{ readonly token: string; readonly storageUrl: string }>
}

/** Of Swift's own accounts, which its S3 knows too, the only one. */
export const OWN_ACCOUNT = { username: 'test:tester', password: 'testing' } as const

const OWN_AUTH: SwiftAuth = {
  filters: {
    s3api: { use: 'egg:swift#s3api' },
    tempauth: { use: 'egg:swift#tempauth', user_test_tester: `${OWN_ACCOUNT.password} .admin` },
  },
  logIn: async (swiftUrl) => {
    const { username, password } = OWN_ACCOUNT
    const headers = { 'x-auth-user': username, 'x-auth-key': password }
    const login = await untilAnswers(authUrlOf(swiftUrl), headers)
    const [token, storageUrl] = [login.headers.get('x-auth-token'), login.headers.get('x-storage-url')]
    return { token: token ?? '', storageUrl: storageUrl ?? '' }
  },
}

/** Where one logs in to a Swift with an account of its own. */
export function authUrlOf(swiftUrl: string): string {
  return `${swiftUrl}/auth/v1.0`
}

/** An OpenStack Swift of one node, which with accounts of its own also speaks S3's protocol. */
export interface Swift extends ServerProcess {
  readonly url: string
  /** Of its containers, for temporary URLs. */
  readonly tempUrlKey: string
  /** Makes an empty container, which is also a bucket of S3. */
  makeContainer(name: string): Promise<void>
}

/** Starts Debian's Swift with its data in a folder of its own, which must be able to hold extended attributes. */
export async function startSwift(auth = OWN_AUTH): Promise<Swift> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-swift-'))
  const tempUrlKey = 'temporary'
  const [proxyPort, cachePort] = [await freePort(), await freePort()]
  // As many as in use: where there is but one copy, Swift says 404 while it is being replaced.
  for (const device of DEVICES) await mkdir(join(folder, 'devices', device), { recursive: true })
  await writeFile(
    join(folder, 'swift.conf'),
    ini({
      'swift-hash': { swift_hash_path_suffix: 'shoal', swift_hash_path_prefix: 'shoal' },
      'storage-policy:0': { name: 'default', default: 'yes' },
    }),
  )
  const programs = [startProgram('memcached', ['-u', 'root', '-l', '127.0.0.1', '-p', String(cachePort)])]
  for (const name of STORAGE) {
    const port = await freePort()
    const builder = join(folder, `${name}.builder`)
    await run('swift-ring-builder', [builder, 'create', '2', String(DEVICES.length), '0'])
    for (const device of DEVICES)
      await run('swift-ring-builder', [builder, 'add', `r1z1-127.0.0.1:${port}/${device}`, '1'])
    await run('swift-ring-builder', [builder, 'rebalance'])
    const config = join(folder, `${name}-server.conf`)
    const settings = { devices: join(folder, 'devices'), mount_check: 'false', disable_fallocate: 'true' }
    await writeFile(
      config,
      ini({
        DEFAULT: { ...listening(folder, port), ...settings },
        'pipeline:main': { pipeline: `${name}-server` },
        [`app:${name}-server`]: { use: `egg:swift#${name}` },
      }),
    )
    programs.push(startProgram(`swift-${name}-server`, [config], { SWIFT_DIR: folder }))
  }
  const config = join(folder, 'proxy-server.conf')
  const filters = Object.fromEntries(FILTERS.map((name) => [`filter:${name}`, { use: `egg:swift#${name}` }]))
  await writeFile(
    config,
    ini({
      DEFAULT: listening(folder, proxyPort),
      'pipeline:main': {
        pipeline: `catch_errors gatekeeper healthcheck cache listing_formats tempurl ${Object.keys(auth.filters).join(' ')} copy slo dlo proxy-server`,
      },
      ...filters,
      'filter:cache': { use: 'egg:swift#memcache', memcache_servers: `127.0.0.1:${cachePort}` },
      ...Object.fromEntries(Object.entries(auth.filters).map(([name, filter]) => [`filter:${name}`, filter])),
      'app:proxy-server': { use: 'egg:swift#proxy', account_autocreate: 'true' },
    }),
  )
  programs.push(startProgram('swift-proxy-server', [config], { SWIFT_DIR: folder }))
  const url = `http://127.0.0.1:${proxyPort}`
  await untilAnswers(`${url}/healthcheck`)
  return {
    url,
    tempUrlKey,
    makeContainer: async (name) => {
      const { token, storageUrl } = await auth.logIn(url)
      const headers = { 'x-auth-token': token, 'x-container-meta-temp-url-key': tempUrlKey }
      const { status } = await fetch(`${storageUrl}/${name}`, { method: 'PUT', headers })
      if (status !== 201) throw new Error(`Swift answered ${status} to a new container`)
    },
    stop: async () => {
      await Promise.all(programs.map((program) => program.stop()))
      await rm(folder, { recursive: true })
    },
  }
}

function listening(folder: string, port: number): Record<string, string> {
  return { bind_ip: '127.0.0.1', bind_port: String(port), swift_dir: folder, user: 'root', workers: '0' }
}
