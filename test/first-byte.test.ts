import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { readFile, writeFile } from 'node:fs/promises'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { freePort } from '@shoal/bench'
import { parseRange } from '@shoal/core'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { parse, stringify } from 'yaml'
import { http, httpExpect, readText } from './kit/http.ts'
import { type Launched, launch } from './kit/process.ts'
import { SHOAL_PROGRAM } from './kit/program.ts'
import { randomContent } from './kit/random-content.ts'
import { type Shoal, startShoal } from './kit/shoal.ts'
import { createTestBed, type TestBed } from './kit/test-bed.ts'

const TIMEOUT_MS = 3000
/** What a loaded machine may take on top. */
const SLACK_MS = 1500
const CONTENT = Buffer.concat([...randomContent('blob', 1024 * 1024)])
const DIGEST = `sha256:${createHash('sha256').update(CONTENT).digest('hex')}`

/** A registry that answers as the test wants; `host:port`. */
async function startOrigin(
  bed: TestBed,
  answer: (request: IncomingMessage, response: ServerResponse) => void,
): Promise<string> {
  const server = createServer(answer)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  bed.use({
    stop: async () => {
      server.closeAllConnections()
      server.close()
    },
  })
  return `127.0.0.1:${(server.address() as AddressInfo).port}`
}

const silent = () => {}

/** Says how long the blob is, and nothing else. */
function headOnly(request: IncomingMessage, response: ServerResponse): void {
  if (request.method === 'HEAD') response.writeHead(200, { 'content-length': CONTENT.byteLength }).end()
}

/** Gives its bytes slowly, and none to who asks for one only. */
function slow(request: IncomingMessage, response: ServerResponse): void {
  headOnly(request, response)
  if (request.method === 'GET' && request.headers.range !== 'bytes=0-0') void dribble(request, response)
}

/** Sends what was asked for a little at a time: 128 KiB every second. */
async function dribble(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const wanted = parseRange(request.headers.range, CONTENT.byteLength)
  const { start, end } = wanted.kind === 'part' ? wanted.range : { start: 0, end: CONTENT.byteLength - 1 }
  const headers = { 'content-length': end - start + 1, 'content-range': `bytes ${start}-${end}/${CONTENT.byteLength}` }
  response.writeHead(wanted.kind === 'part' ? 206 : 200, headers)
  for (let sent = start; sent <= end && !response.destroyed; sent += 128 * 1024) {
    await delay(1000)
    response.write(CONTENT.subarray(sent, Math.min(end + 1, sent + 128 * 1024)))
  }
  response.end()
}

describe('a client that waits for the first byte of a blob', () => {
  const bed = createTestBed()
  let shoal: Shoal
  let peer: Launched | undefined

  beforeEach(async () => {
    shoal = await startShoal(bed, { nodes: 1 })
  })
  afterEach(async () => {
    await peer?.stop()
    await shoal.stop()
  })

  /** A fresh peer that knows the origin; the URL of the blob there. */
  const startPeer = async (origin: string): Promise<string> => {
    const options = parse(await readFile(shoal.peers[0]?.config ?? '', 'utf8'))
    const [mirror, lane, libp2p, admin] = [await freePort(), await freePort(), await freePort(), await freePort()]
    const folder = await bed.folder('fresh')
    const own = {
      ...options,
      name: 'fresh',
      dataDir: `${folder}/data`,
      mirror: { ...options.mirror, port: mirror, firstByteTimeoutMs: TIMEOUT_MS },
      lane: { ...options.lane, port: lane },
      libp2p: { ...options.libp2p, port: libp2p },
      admin: { ...options.admin, port: admin },
      origins: { ...options.origins, [origin]: { url: `http://${origin}` } },
    }
    await writeFile(`${folder}/peer.yaml`, stringify(own))
    const program = await launch('fresh', process.execPath, [SHOAL_PROGRAM, 'peer', '--config', `${folder}/peer.yaml`])
    peer = program
    const isReady = () => httpExpect(`http://127.0.0.1:${admin}/readyz`, [200]).then(...yesOrNo)
    await program.waitUntil('readiness', isReady)
    return `http://127.0.0.1:${mirror}/v2/app/blobs/${DIGEST}?ns=${origin}`
  }
  const yesOrNo = [() => true, () => false] as const

  /** Asks for the blob and expects the error that says that nobody gave a byte, in time. */
  const expectHonestError = async (url: string) => {
    const beganMs = performance.now()
    const { status, body } = await http(url)
    const tookMs = performance.now() - beganMs
    expect(status).toBe(503)
    expect(JSON.parse(await readText(body)).errors[0].code).toBe('UNAVAILABLE')
    expect(tookMs).toBeLessThan(TIMEOUT_MS + SLACK_MS)
    return tookMs
  }

  test('gets an honest error when the origin takes connections and says nothing', async () => {
    const url = await startPeer(await startOrigin(bed, silent))
    await expectHonestError(url)
  })

  test('gets it too when only the bytes do not come, with a scheduler and without', async () => {
    const url = await startPeer(await startOrigin(bed, headOnly))
    expect(await expectHonestError(url)).toBeGreaterThanOrEqual(TIMEOUT_MS - 1)
    process.kill(shoal.scheduler.pid, 'SIGKILL')
    await expectHonestError(url)
  })

  test('waits on while bytes come, however slowly', async () => {
    const url = await startPeer(await startOrigin(bed, slow))
    const beganMs = performance.now()
    const { status, body } = await http(url)
    expect(status).toBe(200)
    // The first piece is 512 KiB.
    expect(performance.now() - beganMs).toBeGreaterThan(TIMEOUT_MS)
    const hash = createHash('sha256')
    for await (const chunk of body) hash.update(chunk)
    expect(`sha256:${hash.digest('hex')}`).toBe(DIGEST)
  })
})
