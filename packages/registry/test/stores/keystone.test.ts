import { setTimeout } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ObjectDriver } from '../../src/storage/objects/object-driver.ts'
import { SwiftStore } from '../../src/storage/objects/swift.ts'
import { areInstalled } from '../interop/tool.ts'
import { KEYSTONE_PROGRAMS, type Keystone, type KeystoneUser, startKeystone } from './keystone.ts'
import { SWIFT_PROGRAMS, type Swift, startSwift } from './swift.ts'

describe.runIf(areInstalled([...SWIFT_PROGRAMS, ...KEYSTONE_PROGRAMS]))("OpenStack's object store and Keystone", () => {
  let keystone: Keystone
  let user: KeystoneUser
  let swift: Swift
  let containers = 0
  beforeAll(async () => {
    keystone = await startKeystone()
    user = await keystone.addUser({
      username: 'shoal',
      password: 'swimming',
      userDomain: 'people',
      project: 'images',
      projectDomain: 'corp',
    })
    swift = await startSwift(keystone.authOf(user))
    await keystone.addStore('here', `${swift.url}/v1/AUTH_$(project_id)s`)
    // Nobody listens there.
    await keystone.addStore('elsewhere', 'http://127.0.0.1:1/v1/AUTH_$(project_id)s')
  }, 90_000)
  afterAll(async () => {
    await swift?.stop()
    await keystone?.stop()
  })

  const newDriver = async (login: { readonly region?: string; readonly password?: string } = {}) => {
    const container = `registry-${containers++}`
    await swift.makeContainer(container)
    const { tempUrlKey } = swift
    const { id: _, ...account } = user
    const from = { authUrl: keystone.url, authVersion: 3, region: 'here', ...account, ...login } as const
    return new ObjectDriver(new SwiftStore({ container, prefix: 'root/', tempUrlKey, ...from }), '')
  }

  // What it can do behind a login is what swift.test.ts sees in full.
  it('is a storage for a user whose domain is not that of the project', async () => {
    const driver = await newDriver()
    const appender = await driver.append('growing')
    await appender.write([Buffer.from('text')])
    await appender.commit()
    await appender.close()
    await driver.move('growing', 'folder/grown')
    expect(await driver.list('folder')).toEqual(['grown'])
    const url = await driver.presign('folder/grown', 60)
    expect(await (await fetch(url ?? '')).text()).toBe('text')
    await driver.remove('folder')
    expect(await driver.stat('folder/grown')).toBeUndefined()
  })

  it('logs in anew when its token was taken back', async () => {
    const driver = await newDriver()
    await driver.write('a', 'before')
    await keystone.revokeTokens(user)
    // Keystone tells to the second when a token was made.
    await setTimeout(1100)
    expect(Buffer.from((await driver.read('a', 100)) ?? []).toString()).toBe('before')
  })

  it('says that a login is refused, and never with what', async () => {
    const driver = await newDriver({ password: 'drowning' })
    const error = await driver.write('a', 'text').catch((thrown: unknown) => thrown)
    expect(String(error)).toContain("refuses the registry's login with 401")
    expect(JSON.stringify(error) + String(error)).not.toContain('drowning')
  })

  it('says that a region has no store', async () => {
    const driver = await newDriver({ region: 'nowhere' })
    await expect(driver.write('a', 'text')).rejects.toThrow('no URL of the store')
  })
})
