import { rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { collectOffline, openStorage } from '../../src/index.ts'
import { ObjectDriver } from '../../src/storage/objects/object-driver.ts'
import { S3Store } from '../../src/storage/objects/s3.ts'
import { SwiftStore } from '../../src/storage/objects/swift.ts'
import { startDistribution } from '../interop/distribution.ts'
import { expectSeen, pushAll } from '../interop/images.ts'
import { areInstalled, requireTool } from '../interop/tool.ts'
import { ask, pushImageBlobs, pushManifest, startRegistry, temporaryFolder } from '../running-registry.ts'
import { describeDriver } from '../unit/storage/driver-compliance.ts'
import { authUrlOf, OWN_ACCOUNT, SWIFT_PROGRAMS, type Swift, startSwift } from './swift.ts'

const { username, password } = OWN_ACCOUNT

describe.runIf(areInstalled(SWIFT_PROGRAMS))("OpenStack's object store", () => {
  let swift: Swift
  let containers = 0
  beforeAll(async () => {
    swift = await startSwift()
  }, 60_000)
  afterAll(() => swift.stop())

  const newContainer = async () => {
    const container = `registry-${containers++}`
    await swift.makeContainer(container)
    return container
  }
  const dispose = async () => {}

  describeDriver(
    'a container of Swift',
    async () => {
      const container = await newContainer()
      const { url, tempUrlKey } = swift
      const login = {
        authUrl: authUrlOf(url),
        authVersion: 1,
        username,
        password,
        userDomain: '',
        projectDomain: '',
        tempUrlKey,
      } as const
      return { driver: new ObjectDriver(new SwiftStore({ container, prefix: 'root/', ...login }), ''), dispose }
    },
    { isRemote: true },
  )

  describeDriver(
    "a bucket of Swift's S3",
    async () => {
      const bucket = await newContainer()
      const credentials = { accessKeyId: username, secretAccessKey: password }
      const place = { endpoint: swift.url, region: 'us-east-1', forcePathStyle: true }
      return { driver: new ObjectDriver(new S3Store({ bucket, ...place, credentials, partMiB: 5 }), ''), dispose }
    },
    { isRemote: true },
  )

  const cleanups: (() => Promise<unknown>)[] = []
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
  })

  /** The same container for ours and for Distribution. */
  const places = {
    s3: (bucket: string, secretFile: string) => ({
      ours: {
        driver: 's3',
        prefix: '/some/where',
        s3: {
          bucket,
          endpoint: swift.url,
          forcePathStyle: true,
          accessKeyId: username,
          secretAccessKeyFile: secretFile,
        },
      },
      theirs: `s3: { bucket: ${bucket}, region: us-east-1, regionendpoint: "${swift.url}", accesskey: "${username}", secretkey: ${password}, secure: false, rootdirectory: /some/where }`,
    }),
    swift: (container: string, secretFile: string) => ({
      ours: {
        driver: 'swift',
        swift: {
          container,
          authUrl: authUrlOf(swift.url),
          authVersion: 1,
          username,
          passwordFile: secretFile,
        },
      },
      theirs: `swift: { container: ${container}, authurl: "${authUrlOf(swift.url)}", username: "${username}", password: ${password} }`,
    }),
  }

  it.for(['s3', 'swift'] as const)(
    'is shared by turns with docker-registry by the driver %s',
    async (driver, context) => {
      const program = requireTool('docker-registry', context)
      const dataDir = await temporaryFolder()
      cleanups.push(() => rm(dataDir, { recursive: true }))
      const secretFile = join(dataDir, 'secret')
      await writeFile(secretFile, `${password}\n`)
      const { ours: storage, theirs: yaml } = places[driver](await newContainer(), secretFile)
      const startOurs = async () => {
        const registry = await startRegistry({ dataDir, storage })
        cleanups.push(registry.stop)
        return registry
      }
      const startTheirs = async () => {
        const registry = await startDistribution(program, dataDir, { storage: yaml })
        cleanups.push(registry.stop)
        return registry
      }

      const theirs = await startTheirs()
      const pushed = await pushAll(theirs.url)
      await theirs.stop()

      const ours = await startOurs()
      await expectSeen(ours.url, pushed)
      const gone = await pushManifest(ours.url, 'lib/app', 'gone', await pushImageBlobs(ours.url, 'lib/app', 'gone'))
      expect((await ask(`${ours.url}/v2/lib/app/manifests/${gone.digest}`, { method: 'DELETE' })).status).toBe(202)
      const more = await pushAll(ours.url)
      await ours.stop()
      // It tells to the second when something was stored, rounded up: without a grace this must have passed.
      await setTimeout(1000)
      const collected = await collectOffline(await openStorage(ours.options), {
        graceMs: 0,
        untagged: 'remove',
        isDryRun: false,
      })
      expect(collected).toMatchObject({ removedManifests: 0, removedLayers: 2, removedBlobs: 3, unreadable: [] })

      const again = await startTheirs()
      await expectSeen(again.url, more)
    },
  )
})
