import { execFile } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { promisify } from 'node:util'
import { ini } from './ini.ts'
import { freePort, type ServerProcess, startProgram, untilAnswers } from './server.ts'
import type { SwiftAuth } from './swift.ts'

const run = promisify(execFile)
const ADMIN = { username: 'admin', password: 'administering' }

/** What must be installed for it, beside the middleware for Swift (`python3-keystonemiddleware`). */
export const KEYSTONE_PROGRAMS = ['keystone-manage', 'keystone-wsgi-public']

/** Somebody who may use a project, each of them in a domain of its own. */
export interface KeystoneUser {
  readonly id: string
  readonly username: string
  readonly password: string
  readonly userDomain: string
  readonly project: string
  readonly projectDomain: string
}

/** An OpenStack Keystone. */
export interface Keystone extends ServerProcess {
  /** `…/v3`. */
  readonly url: string
  addUser(user: Omit<KeystoneUser, 'id'>): Promise<KeystoneUser>
  /** Takes the user's tokens back; new ones can be had after a second, for all of this one count as taken back. */
  revokeTokens(user: KeystoneUser): Promise<void>
  /** Tells clients that a region's object store is at `url`. */
  addStore(region: string, url: string): Promise<void>
  /** Has a Swift let in whom Keystone knows; `user` makes its containers. */
  authOf(user: KeystoneUser): SwiftAuth
}

/** Starts Debian's Keystone with its data in a folder of its own. */
export async function startKeystone(): Promise<Keystone> {
  const folder = await mkdtemp(join(tmpdir(), 'shoal-keystone-'))
  const config = join(folder, 'keystone.conf')
  const database = join(folder, 'keystone.db')
  const port = await freePort()
  const url = `http://127.0.0.1:${port}/v3`
  await writeFile(
    config,
    ini({
      database: { connection: `sqlite:///${database}` },
      token: { provider: 'fernet' },
      fernet_tokens: { key_repository: join(folder, 'fernet') },
    }),
  )
  const manage = (...args: string[]) => run('keystone-manage', ['--config-file', config, ...args])
  await Promise.all([manage('db_sync'), manage('fernet_setup', '--keystone-user', 'root', '--keystone-group', 'root')])
  // It leaves reads open, which in SQLite's usual mode keep its own next write from being done.
  const opened = new DatabaseSync(database)
  opened.exec('PRAGMA journal_mode = WAL')
  opened.close()
  await manage('bootstrap', '--bootstrap-password', ADMIN.password, '--bootstrap-public-url', url)
  const server = startProgram('keystone-wsgi-public', ['--port', String(port), '--host', '127.0.0.1'], {
    OS_KEYSTONE_CONFIG_FILES: config,
  })
  await untilAnswers(url)

  const { token } = await logIn(url, { ...ADMIN, userDomain: 'Default', project: 'admin', projectDomain: 'Default' })
  /** What was made or found, under its only key. */
  const ask = async (method: string, path: string, body?: object): Promise<{ readonly id: string }> => {
    const response = await fetch(url + path, {
      method,
      headers: { 'x-auth-token': token, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    })
    if (!response.ok) throw new Error(`Keystone answered ${response.status}: ${await response.text()}`)
    const [made] = response.status === 204 ? [] : Object.values((await response.json()) as object)
    return made
  }
  const domainOf = async (name: string) => (await ask('POST', '/domains', { domain: { name } })).id
  const [role] = (await ask('GET', '/roles?name=member')) as unknown as [{ readonly id: string }]
  const store = await ask('POST', '/services', { service: { type: 'object-store', name: 'swift' } })

  return {
    url,
    addUser: async (user) => {
      const { username: name, password } = user
      const [domain_id, projectDomain] = [await domainOf(user.userDomain), await domainOf(user.projectDomain)]
      const project = await ask('POST', '/projects', { project: { name: user.project, domain_id: projectDomain } })
      const { id } = await ask('POST', '/users', { user: { name, password, domain_id } })
      await ask('PUT', `/projects/${project.id}/users/${id}/roles/${role.id}`)
      return { id, ...user }
    },
    revokeTokens: async ({ id }) => {
      for (const enabled of [false, true]) await ask('PATCH', `/users/${id}`, { user: { enabled } })
    },
    addStore: async (region, storeUrl) => {
      await ask('PUT', `/regions/${region}`, { region: {} })
      const endpoint = { interface: 'public', region_id: region, service_id: store.id, url: storeUrl }
      await ask('POST', '/endpoints', { endpoint })
    },
    authOf: (user) => ({
      filters: {
        authtoken: {
          'paste.filter_factory': 'keystonemiddleware.auth_token:filter_factory',
          www_authenticate_uri: url,
          auth_url: url,
          auth_type: 'password',
          interface: 'public',
          ...ADMIN,
          user_domain_name: 'Default',
          project_name: 'admin',
          project_domain_name: 'Default',
          delay_auth_decision: 'True',
          // A token that was taken back would be good for minutes.
          token_cache_time: '-1',
        },
        keystoneauth: { use: 'egg:swift#keystoneauth', operator_roles: 'member' },
      },
      logIn: async () => {
        const { token, catalog } = await logIn(url, user)
        const endpoints = catalog.find(({ type }) => type === 'object-store')?.endpoints ?? []
        return { token, storageUrl: endpoints[0]?.url ?? '' }
      },
    }),
    stop: async () => {
      await server.stop()
      await rm(folder, { recursive: true })
    },
  }
}

interface Login {
  readonly token: string
  readonly catalog: readonly { readonly type: string; readonly endpoints: readonly { readonly url: string }[] }[]
}

async function logIn(url: string, user: Omit<KeystoneUser, 'id'>): Promise<Login> {
  const identity = {
    methods: ['password'],
    password: { user: { name: user.username, password: user.password, domain: { name: user.userDomain } } },
  }
  const scope = { project: { name: user.project, domain: { name: user.projectDomain } } }
  const response = await fetch(`${url}/auth/tokens`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ auth: { identity, scope } }),
  })
  if (response.status !== 201) throw new Error(`Keystone answered ${response.status} to a login`)
  const { token } = (await response.json()) as { token: Pick<Login, 'catalog'> }
  return { token: response.headers.get('x-subject-token') ?? '', catalog: token.catalog }
}
