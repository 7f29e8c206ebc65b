import { mkdtemp, readdir, readFile, readlink, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { createLogger, digestOf, MEDIA_TYPES } from '@shoal/core'
import { resolveConfig, type Service } from '@shoal/core/service'
import { registryService } from '@shoal/registry'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { createProgram } from '../../src/program.ts'

let folder: string
let dataDir: string
let running: Service | undefined
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'shoal-cli-archive-'))
  dataDir = join(folder, 'registry')
})
afterEach(async () => {
  await running?.stop()
  running = undefined
  await rm(folder, { recursive: true })
})

/** Runs `shoal registry …`; what it printed, and what it threw. */
async function shoal(...args: string[]) {
  const chunks: Buffer[] = []
  const stdout = new Writable({
    write(chunk, _encoding, done) {
      chunks.push(Buffer.from(chunk))
      done()
    },
  })
  const stderr = new Writable({ write: (_chunk, _encoding, done) => done() })
  const program = createProgram({ file: 'shoal', environment: {}, stdout, stderr })
  const error = await program.parseAsync(['node', 'shoal', 'registry', ...args]).then(
    () => undefined,
    (cause: Error & { code?: string }) => ({ code: cause.code, message: cause.message }),
  )
  return { printed: Buffer.concat(chunks), error }
}

/** The files that this process has open whose path begins with `path`. */
async function openBelow(path: string): Promise<string[]> {
  const open = await readdir('/proc/self/fd')
  const paths = await Promise.all(open.map((fd) => readlink(`/proc/self/fd/${fd}`).catch(() => '')))
  return paths.filter((each) => each.startsWith(path))
}

async function startRegistry(folder: string): Promise<string> {
  const values = { port: 0, metrics: { port: 0 }, log: { level: 'silent' }, dataDir: folder }
  const options = resolveConfig(registryService.schema, [{ source: 'test', values }]).values
  running = await registryService.create(options as never, createLogger('registry', 'silent'))
  await running.start()
  return running.addresses().registry ?? ''
}

/** Pushes an image without layers and stops the registry. */
async function pushImage(): Promise<string> {
  const url = await startRegistry(dataDir)
  const config = Buffer.from('{}')
  const upload = await fetch(`${url}/v2/app/blobs/uploads/?digest=${digestOf(config)}`, {
    method: 'POST',
    body: config,
  })
  expect(upload.status).toBe(201)
  const described = { mediaType: MEDIA_TYPES.ociConfig, digest: digestOf(config), size: config.length }
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: MEDIA_TYPES.ociManifest,
    config: described,
    layers: [],
  })
  const headers = { 'content-type': MEDIA_TYPES.ociManifest }
  const put = await fetch(`${url}/v2/app/manifests/v1`, { method: 'PUT', body: manifest, headers })
  expect(put.status).toBe(201)
  return digestOf(Buffer.from(manifest))
}

const of = (path: string) => ['--set', `dataDir=${path}`]

describe('shoal registry export and import', () => {
  it('carry an image to another registry, by a file or a pipe', async () => {
    const digest = await pushImage()
    const tar = join(folder, 'app.tar')
    // While it runs.
    const exported = await shoal('export', 'app:v1', '--to', tar, ...of(dataDir))
    expect(exported.printed.toString()).toMatch(/^exported: 1 images, 2 contents/)
    expect((await shoal('export', 'app', '--to', '-', ...of(dataDir))).printed.equals(await readFile(tar))).toBe(true)

    const other = join(folder, 'other')
    const imported = await shoal('import', tar, ...of(other))
    expect(imported.printed.toString()).toBe(`imported:\n  app:v1@${digest}\n`)
    const again = await shoal('import', tar, '--as', 'team/app:v2', '--json', ...of(other))
    expect(JSON.parse(again.printed.toString())).toEqual({ images: [{ repository: 'team/app', tag: 'v2', digest }] })
    await running?.stop()
    const url = await startRegistry(other)
    for (const name of ['app/manifests/v1', 'team/app/manifests/v2']) {
      expect((await fetch(`${url}/v2/${name}`)).headers.get('docker-content-digest')).toBe(digest)
    }
  })

  it('say what is wrong, and leave no file by half', async () => {
    await pushImage()
    const tar = join(folder, 'app.tar')
    expect((await shoal('export', 'app:none', '--to', tar, ...of(dataDir))).error?.code).toBe('MANIFEST_UNKNOWN')
    expect((await shoal('export', 'App', '--to', tar, ...of(dataDir))).error?.message).toContain('name:tag')
    expect((await shoal('export', 'app', '--to', join(folder, 'no/x.tar'), ...of(dataDir))).error?.code).toBe('USAGE')
    expect(await readdir(folder)).toEqual(['registry'])

    await writeFile(tar, 'no tar')
    expect((await shoal('import', tar, ...of(dataDir))).error?.code).toBe('DATA_FOLDER_UNUSABLE')
    await running?.stop()
    expect((await shoal('import', tar, ...of(dataDir))).error?.code).toBe('MANIFEST_INVALID')
    const missing = await shoal('import', join(folder, 'none.tar'), ...of(dataDir))
    expect(missing.error).toMatchObject({ code: 'USAGE', message: expect.stringContaining('ENOENT') })
    const digest = await shoal('import', tar, '--as', `app@${digestOf('')}`, ...of(dataDir))
    expect(digest.error?.code).toBe('USAGE')
    expect(await openBelow(tar)).toEqual([])
  })
})

describe('shoal registry scrub', () => {
  it('takes what is damaged out of the way, so that a push mends it', async () => {
    await pushImage()
    await running?.stop()
    const hex = digestOf(Buffer.from('{}')).slice('sha256:'.length)
    const root = join(dataDir, 'docker/registry/v2')
    await writeFile(join(root, 'blobs/sha256', hex.slice(0, 2), hex, 'data'), '[]')

    const { printed, error } = await shoal('scrub', ...of(dataDir))
    expect(error?.code).toBe('VERIFY_DAMAGED')
    expect(printed.toString()).toContain(`corrupt: sha256:${hex}`)
    expect(printed.toString()).toContain(`out of the way: docker/registry/v2/quarantine/sha256/${hex}`)
    expect(await readFile(join(root, 'quarantine/sha256', hex), 'utf8')).toBe('[]')
    const again = await shoal('scrub', '--json', ...of(dataDir))
    expect(JSON.parse(again.printed.toString())).toMatchObject({
      count: 1,
      findings: [{ kind: 'missing' }],
      quarantined: [],
    })

    await pushImage()
    await running?.stop()
    expect((await shoal('scrub', ...of(dataDir))).error).toBeUndefined()
  })
})
