import { once } from 'node:events'
import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ClockLog } from '../../../src/lane/clock-log.ts'
import { encodeFrame } from '../../../src/lane/frames.ts'
import { createIdentityCertificate } from '../../../src/lane/identity-certificate.ts'
import type { LaneParent } from '../../../src/lane/piece-fetch.ts'
import {
  blob,
  childNode,
  cleanups,
  dial,
  HELLO,
  memoryStreams,
  never,
  noStreams,
  parentNode,
  startClient,
  startParent,
  startServer,
  target,
  until,
  useEnds,
} from './ends.ts'
import { STRANGER } from './world.ts'

useEnds()
afterEach(() => {
  vi.useRealTimers()
})

const HOUR_MS = 3_600_000

/** A TCP port that answers whatever comes with something that is no TLS. */
async function chatter(): Promise<LaneParent> {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
    socket.once('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { peerId: parentNode.peerId, host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** What may answer where the lane of a parent should be, and what that is called. */
const ANSWERS = [
  ['this node itself', 'self', () => startParent(() => {}, HELLO, childNode.credentials)],
  [
    'another node',
    'otherPeer',
    async () => {
      const { credentials } = { credentials: parentNode.credentials }
      const parent = await startParent(() => {}, HELLO, credentials)
      return { ...parent, peerId: '12D3KooWGzBnV8PuFKiU3GmZbyUkXwWqFnPZmvpnRrhKVBHmR7hQ' }
    },
  ],
  ['a certificate that proves nothing', 'handshake', () => startParent(() => {}, HELLO, STRANGER)],
  ['something that speaks no TLS', 'handshake', chatter],
  [
    'a lane of another version',
    'handshake',
    () => startParent(() => {}, encodeFrame({ type: 'hello', lowestVersion: 2, highestVersion: 3, features: 0 })),
  ],
] as const

describe.each(ANSWERS)('where %s answers', (_what, code, answer) => {
  it('the piece comes over libp2p, and the reason is told', async () => {
    const { serve } = await startServer()
    const parent = await answer()
    const { client, findings, reasons, counts } = startClient({ streams: memoryStreams(serve) })
    await client.fetch(blob.request(0, target, parent), never)
    expect(findings).toEqual(['unreached'])
    expect(reasons).toEqual([code])
    expect(counts.requests('received', code)).toBe(1)
  })

  it(`a piece that does not come over libp2p either fails as ${code}`, async () => {
    const parent = await answer()
    for (const streams of [undefined, noStreams]) {
      const { client } = startClient(streams === undefined ? {} : { streams })
      await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code })
    }
  })
})

describe('a clock that is two hours off', () => {
  it.each([-2, 2])('keeps nobody from the lane (%i h), and both ends name it', async (hours) => {
    const server = await startServer()
    // The child, whose certificate is made and whose hello is said at another time than the parent's.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * HOUR_MS })
    const credentials = await createIdentityCertificate(childNode.privateKey)
    const socket = await dial(server.parent, credentials)
    const timeMs = Date.now()
    vi.useRealTimers()
    socket.write(encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 1, features: 0, timeMs }))
    await until(() => server.clocks.length > 0)
    const [[peerId, aheadMs] = ['', 0]] = server.clocks
    expect(peerId).toBe(childNode.peerId)
    expect(Math.abs(aheadMs - hours * HOUR_MS)).toBeLessThan(60_000)
  })

  it.each([-2, 2])('of a parent (%i h) is told by the child, which takes the piece', async (hours) => {
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + hours * HOUR_MS })
    const credentials = await createIdentityCertificate(parentNode.privateKey)
    const hello = encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 1, features: 0, timeMs: Date.now() })
    vi.useRealTimers()
    const parent = await startParent(
      (request, socket) => {
        if (request.type !== 'request') return
        socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
        socket.write(blob.piece(request.piece))
      },
      hello,
      credentials,
    )
    const { client, clocks, findings } = startClient({ streams: noStreams })
    await client.fetch(blob.request(0, target, parent), never)
    expect(findings).toEqual(['reached'])
    const [[peerId, aheadMs] = ['', 0]] = clocks
    expect(peerId).toBe(parentNode.peerId)
    expect(Math.abs(aheadMs - hours * HOUR_MS)).toBeLessThan(60_000)
  })

  it('is not spoken of when it is as good as right', async () => {
    const server = await startServer()
    const { client, clocks } = startClient()
    await client.fetch(blob.request(0, target, server.parent), never)
    expect([clocks, server.clocks]).toEqual([[], []])
  })

  it('is named in the log once an hour for each node, and for a few nodes only', () => {
    const said: string[] = []
    const log = new ClockLog({ warn: ({ peer }: { peer: string }) => said.push(peer) } as never)
    log.found('a', -2 * HOUR_MS, 0)
    log.found('a', -2 * HOUR_MS, HOUR_MS - 1)
    expect(said).toEqual(['a'])
    log.found('a', 8.64e15, HOUR_MS)
    expect(said).toEqual(['a', 'a'])
    for (let node = 0; node < 1000; node++) log.found(`liar ${node}`, HOUR_MS, HOUR_MS)
    expect(said.length).toBe(17)
  })
})
