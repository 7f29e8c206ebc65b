import { rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLogger, digestOf, parseDigest } from '@shoal/core'
import { OriginClient } from '@shoal/origin'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { BlobFill } from '../../../src/proxy/fill.ts'
import { upstreamFile } from '../../../src/proxy/upstream-chunks.ts'
import type { Appender, StorageDriver, StoredFile } from '../../../src/storage/driver.ts'
import { FilesystemDriver } from '../../../src/storage/filesystem.ts'
import { content, temporaryFolder } from '../../running-registry.ts'

const BLOB = content('blob', 4_000_000)
const DIGEST = parseDigest(digestOf(BLOB))
const UPSTREAM = { registry: 'upstream.test', repository: 'app', digest: DIGEST, sizeBytes: BLOB.byteLength }

let folder: string
let server: Server
let client: OriginClient
beforeEach(async () => {
  folder = await temporaryFolder()
  server = createServer((request, response) => {
    const [, first = 0, last = BLOB.byteLength - 1] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') ?? []
    const part = BLOB.subarray(Number(first), Number(last) + 1)
    const range = `bytes ${first}-${last}/${BLOB.byteLength}`
    const head = { 'content-length': part.byteLength, 'content-range': range }
    response.writeHead(request.headers.range === undefined ? 200 : 206, head).end(part)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const limits = {
    connectTimeoutMs: 1000,
    headersTimeoutMs: 1000,
    progressTimeoutMs: 1000,
    totalTimeoutMs: 1000,
    connections: 4,
  }
  client = new OriginClient(
    { origins: { 'upstream.test': { url } }, allowUnlisted: false, limits },
    { log: createLogger('test', 'silent') },
  )
})
afterEach(async () => {
  await rm(folder, { recursive: true, force: true })
  await client.close()
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

async function whole(file: StoredFile | undefined): Promise<Buffer> {
  const chunks: Uint8Array[] = []
  for await (const chunk of file?.chunks({ start: 0, end: BLOB.byteLength - 1 }) ?? []) chunks.push(Buffer.from(chunk))
  await file?.close()
  return Buffer.concat(chunks)
}

function fillOnto(spool: StorageDriver): BlobFill {
  return new BlobFill(UPSTREAM, {
    client,
    spool,
    path: 'spool',
    received: () => {},
    signal: new AbortController().signal,
  })
}

/** A disk that takes so many bytes. */
class FullDisk extends FilesystemDriver {
  readonly #takesBytes: number

  constructor(folder: string, takesBytes: number) {
    super(folder)
    this.#takesBytes = takesBytes
  }

  override async append(path: string): Promise<Appender> {
    const appender = await super.append(path)
    const write = appender.write.bind(appender)
    appender.write = async (chunks) => {
      if (appender.offset >= this.#takesBytes) throw Object.assign(new Error('no space left'), { code: 'ENOSPC' })
      await write(chunks)
    }
    return appender
  }
}

it.each([0, 1, 1_000_000])('a disk that is full after %d bytes keeps nobody from reading', async (bytes) => {
  const spool = new FullDisk(folder, bytes)
  const fill = fillOnto(spool)
  await fill.begun()
  const file = (await fill.open()) ?? upstreamFile(client, UPSTREAM)
  expect((await whole(file)).equals(BLOB)).toBe(true)
  await expect(fill.done).rejects.toThrow('no space left')
  expect(await spool.stat('spool')).toBeUndefined()
})

it('a slow disk slows the upstream', async () => {
  let release = () => {}
  const held = new Promise<void>((resolve) => {
    release = resolve
  })
  let received = 0
  const spool = new FilesystemDriver(folder)
  const append = spool.append.bind(spool)
  spool.append = async (path) => {
    const appender = await append(path)
    const write = appender.write.bind(appender)
    appender.write = async (chunks) => {
      await held
      await write(chunks)
    }
    return appender
  }
  const fill = new BlobFill(UPSTREAM, {
    client,
    spool,
    path: 'spool',
    received: (bytes) => {
      received += bytes
    },
    signal: new AbortController().signal,
  })
  await new Promise((resolve) => setTimeout(resolve, 300))
  expect(received).toBeGreaterThan(2 * 1024 * 1024)
  expect(received).toBeLessThan(2.25 * 1024 * 1024)
  release()
  await fill.done
  expect((await whole(await fill.open())).equals(BLOB)).toBe(true)
})
