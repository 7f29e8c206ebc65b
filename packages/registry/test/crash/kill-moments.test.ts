/**
 * A registry is killed at random moments while clients push to it, and started again on the same folder.
 * `SHOAL_KILL_MOMENTS` says how many moments (`npm run test:kill:registry`: 200), `SHOAL_KILL_SEED` which; the seed is
 * printed.
 */
import { randomInt } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import { rm } from 'node:fs/promises'
import { setTimeout as wait } from 'node:timers/promises'
import { digestOf, formatDigest, MEDIA_TYPES } from '@shoal/core'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ContentUses } from '../../src/storage/content-uses.ts'
import { FilesystemDriver } from '../../src/storage/filesystem.ts'
import { ManifestStore } from '../../src/storage/manifests.ts'
import { type Finding, verifyStorage } from '../../src/verify.ts'
import { ask, beginUpload, content, descriptor, pushBlob, pushManifest, temporaryFolder } from '../running-registry.ts'
import { RegistryChild } from './registry-child.ts'

const MOMENTS = Number(process.env.SHOAL_KILL_MOMENTS ?? 10)
const SEED = Number(process.env.SHOAL_KILL_SEED ?? randomInt(2 ** 31))
const CLIENTS = 4
/** A moment is after the push of up to so many images less one, and up to another one's time later. */
const IMAGES = 3
const LAYER = 'application/vnd.oci.image.layer.v1.tar'

let dataDir: string
const child = new RegistryChild()
beforeEach(async () => {
  dataDir = await temporaryFolder()
})
afterEach(async () => {
  await child.kill()
  await rm(dataDir, { recursive: true })
})

/** Numbers from 0 to 1 that follow from the seed. */
function* draws(seed: number): Generator<number, never> {
  for (let i = 0; ; i++) yield content(`${seed} ${i}`, 4).readUInt32LE() / 2 ** 32
}

/** A layer in two requests and the commit, as clients that push in chunks do. */
async function pushInChunks(url: string, repository: string, bytes: Buffer): Promise<string> {
  const upload = new URL(await beginUpload(url, repository))
  const half = bytes.length >> 1
  for (const part of [bytes.subarray(0, half), bytes.subarray(half)]) {
    const { status } = await ask(upload.href, { method: 'PATCH', body: part })
    if (status !== 202) throw new Error(`PATCH answered ${status}`)
  }
  upload.searchParams.set('digest', digestOf(bytes))
  const { status } = await ask(upload.href, { method: 'PUT' })
  if (status !== 201) throw new Error(`PUT answered ${status}`)
  return digestOf(bytes)
}

/** An image of a layer of its own and one that all share; resolves to the digest of its manifest, once confirmed. */
async function pushImage(url: string, repository: string, tag: string): Promise<string> {
  const config = content(`${tag} config`, 300)
  const own = content(`${tag} layer`, 400_000)
  const shared = content('shared by all', 200_000)
  await pushBlob(url, repository, config)
  await pushInChunks(url, repository, own)
  const query = `?mount=${digestOf(shared)}&from=base`
  const mounted = await ask(`${url}/v2/${repository}/blobs/uploads/${query}`, { method: 'POST' })
  if (mounted.status !== 201) await pushBlob(url, repository, shared)
  const { digest, answer } = await pushManifest(url, repository, tag, {
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: descriptor(MEDIA_TYPES.ociConfig, config),
    layers: [descriptor(LAYER, own), descriptor(LAYER, shared)],
  })
  if (answer.status !== 201) throw new Error(`the manifest was answered ${answer.status}: ${answer.bytes}`)
  return digest
}

it(
  'killed at random moments, it holds all that it confirmed, nothing damaged, and takes the same push again',
  async () => {
    process.stdout.write(`SHOAL_KILL_SEED=${SEED}\n`)
    const random = draws(SEED)
    const driver = new FilesystemDriver(dataDir)
    const manifests = new ManifestStore(driver, new ContentUses())
    const confirmed = new Map<string, string>()
    /** Of each client, what it was pushing when the registry was killed. */
    const interrupted: (string | undefined)[] = []
    let images = 0
    /** Images that must be confirmed by now. */
    let awaited = 0
    /** What the push of an image took lately: moments are as far apart as the machine is slow. */
    let imageMs = 100
    for (let moment = 0; moment < MOMENTS; moment++) {
      const url = await child.start(dataDir)
      if (moment === 0) await pushBlob(url, 'base', content('shared by all', 200_000))
      let isKilled = false
      const pushed = new EventEmitter()
      const beganMs = performance.now()
      const pushMany = async (client: number) => {
        for (;;) {
          const tag = interrupted[client] ?? `image-${images++}`
          interrupted[client] = tag
          const repository = `app-${client % 2}`
          try {
            confirmed.set(`${repository}:${tag}`, await pushImage(url, repository, tag))
          } catch (error) {
            if (isKilled) return
            throw error
          }
          interrupted[client] = undefined
          pushed.emit('image')
        }
      }
      const pushes = Promise.all(Array.from({ length: CLIENTS }, (_, client) => pushMany(client)))
      const wanted = Math.floor(random.next().value * IMAGES)
      awaited += wanted
      for (let at = 0; at < wanted; at++) await once(pushed, 'image')
      if (wanted > 0) imageMs = (performance.now() - beganMs) / wanted
      await wait(random.next().value * imageMs)
      isKilled = true
      await child.kill()
      await pushes

      const findings: Finding[] = []
      await verifyStorage(driver, { found: (finding) => findings.push(finding) })
      expect(findings).toEqual([])
      for (const [name, digest] of confirmed) {
        const [repository = '', tag = ''] = name.split(':')
        const held = await manifests.resolve(repository, { tag })
        expect([name, held && formatDigest(held)]).toEqual([name, digest])
      }
    }
    expect(confirmed.size).toBeGreaterThanOrEqual(awaited)
  },
  MOMENTS * 60_000,
)
