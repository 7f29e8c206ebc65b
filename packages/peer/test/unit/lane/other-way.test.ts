import { once } from 'node:events'
import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { type AddressInfo, connect as connectTcp, createServer, type Server, type Socket } from 'node:net'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer } from 'node:tls'
import { describe, expect, it } from 'vitest'
import type { Links } from '../../../src/lane/client-link.ts'
import { encodeFrame, type RequestFrame } from '../../../src/lane/frames.ts'
import { LANE_ALPN, laneSecureOptions } from '../../../src/lane/peer-certificate.ts'
import type { LaneParent } from '../../../src/lane/piece-fetch.ts'
import { NodeLimits } from '../../../src/limits/node-limits.ts'
import {
  answering,
  blob,
  childNode,
  cleanups,
  dial,
  folder,
  HELLO,
  memoryStreams,
  never,
  noStreams,
  parentNode,
  requestFrame,
  startClient,
  startParent,
  startServer,
  target,
  until,
  useEnds,
} from './ends.ts'
import { frameSamples, mutatedStream, randomNumbers } from './mutations.ts'

useEnds()

/** A place where nobody listens. */
const refusing = (): LaneParent => ({ peerId: parentNode.peerId, host: '127.0.0.1', port: 1 })

/** Where a server, that listens from now on, is as a lane. */
async function listening(server: Server): Promise<LaneParent> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return { peerId: parentNode.peerId, host: '127.0.0.1', port: (server.address() as AddressInfo).port }
}

/** A TCP port that says nothing until `goOn`, which has it lead to `port`. */
async function silentPort(port?: number) {
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    socket.on('error', () => {})
  })
  const parent = await listening(server)
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  const goOn = () => {
    for (const socket of sockets) {
      const through = connectTcp({ host: '127.0.0.1', port: port ?? 0 })
      through.on('error', () => {})
      socket.pipe(through).pipe(socket)
    }
  }
  return { parent, goOn }
}

/** A lane that takes no new connection once it is closed, and is silent from when it `falls`. */
async function startLane(answer: (request: RequestFrame, stream: Duplex) => void) {
  const server = createTlsServer({
    ...laneSecureOptions(parentNode.credentials),
    ALPNProtocols: LANE_ALPN,
    requestCert: true,
    rejectUnauthorized: false,
  })
  const lane = { parent: await listening(server), falls: false, close: () => void server.close() }
  server.on('secureConnection', (socket) => {
    cleanups.push(() => void socket.destroy())
    answering((request) => {
      if (!lane.falls) answer(request, socket)
    })(socket)
  })
  cleanups.push(lane.close)
  return lane
}

const right = (request: RequestFrame, stream: Duplex) => {
  stream.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
  stream.write(blob.piece(request.piece))
}

describe('a parent whose lane is not reached', () => {
  it('gives its pieces on a stream, one for all of them', async () => {
    const { serve, counts: sent, slots } = await startServer()
    const streams = memoryStreams(serve)
    const { client, counts, findings } = startClient({ streams })
    const file = join(folder.path, 'whole')
    await writeFile(file, '')
    const pieces = Array.from({ length: blob.layout.count }, (_, piece) => piece)
    for (const piece of pieces) await client.fetch(blob.request(piece, file, refusing()), never)
    expect((await readFile(file)).equals(blob.bytes)).toBe(true)
    expect(streams.opened()).toBe(1)
    expect(findings).toEqual(['unreached'])
    expect(counts.bytes('received', 'libp2p')).toBe(blob.bytes.length)
    expect(counts.bytes('received')).toBe(0)
    expect(counts.requests('received', 'unreachable')).toBe(pieces.length)
    expect(counts.requests('received', 'ok', 'libp2p')).toBe(pieces.length)
    await until(() => slots.held() === 0)
    expect(sent.bytes('sent', 'libp2p')).toBe(blob.bytes.length)
    expect([sent.openConnections('sent'), sent.openConnections('sent', 'libp2p')]).toEqual([0, 1])
  })

  it('costs a piece half a second when nobody answers, and then none', async () => {
    const { serve } = await startServer()
    const { parent } = await silentPort()
    const { client, findings } = startClient({ streams: memoryStreams(serve) })
    const took = async (piece: number) => {
      const beganMs = performance.now()
      await client.fetch(blob.request(piece, target, parent), never)
      return performance.now() - beganMs
    }
    const first = await took(0)
    expect(first).toBeGreaterThan(400)
    expect(first).toBeLessThan(1000)
    expect(await took(1)).toBeLessThan(400)
    expect(findings).toEqual(['unreached'])
  })

  it('is asked on the stream at once when that is known', async () => {
    const { serve } = await startServer()
    const { parent } = await silentPort()
    const { client, counts } = startClient({ streams: memoryStreams(serve) })
    await client.fetch(blob.request(0, target, parent), never, { way: 'libp2p' })
    expect(counts.openConnections('received')).toBe(0)
    expect(counts.requests('received', 'ok', 'libp2p')).toBe(1)
  })

  it('is tried on the lane in the background, and says when that is there', async () => {
    const { serve, parent, counts: sent } = await startServer()
    const { client, counts, findings } = startClient({ streams: memoryStreams(serve) })
    await client.fetch(blob.request(0, target, parent), never, { way: 'retry' })
    await until(() => findings.includes('reached'))
    expect(counts.requests('received', 'ok', 'libp2p')).toBe(1)
    // A connection that has no use may be dead, so another one is made.
    await client.fetch(blob.request(0, target, parent), never, { way: 'retry' })
    await until(() => findings.filter((finding) => finding === 'reached').length === 2)
    expect(sent.requests('sent', 'ok')).toBe(0)
  })

  it('is waited for when it was only late and there is no stream either', async () => {
    const { parent: behind } = await startServer()
    const { parent, goOn } = await silentPort(behind.port)
    const { client, findings } = startClient({ streams: noStreams })
    const fetch = client.fetch(blob.request(0, target, parent), never)
    await until(() => findings.includes('lost'))
    goOn()
    await fetch
    expect(findings).toEqual(['lost', 'reached'])
  })

  it('is reached when its lane is there before the stream', async () => {
    const { parent: behind, serve } = await startServer()
    const { parent, goOn } = await silentPort(behind.port)
    const streams = memoryStreams(serve)
    const opened = Promise.withResolvers<() => void>()
    const late: Links = {
      ...streams,
      open: (to, listener) =>
        streams.open(to, {
          ...listener,
          read: (bytes) => listener.read(bytes),
          opened: (peer) => opened.resolve(() => listener.opened(peer)),
        }),
    }
    const { client, counts, findings } = startClient({ streams: late })
    const fetch = client.fetch(blob.request(0, target, parent), never)
    const open = await opened.promise
    goOn()
    await until(() => findings.includes('reached'))
    open()
    await fetch
    expect(counts.requests('received', 'ok', 'libp2p')).toBe(1)
    expect(findings).toEqual(['reached'])
  })

  it('is unreachable when there is no stream either', async () => {
    const { client, counts, findings } = startClient({ streams: noStreams })
    await expect(client.fetch(blob.request(0, target, refusing()), never)).rejects.toMatchObject({
      code: 'unreachable',
      message: expect.stringMatching(/127\.0\.0\.1:1 .*; no stream .*no way/),
    })
    expect(findings).toEqual(['lost'])
    expect(counts.requests('received', 'unreachable', 'libp2p')).toBe(1)
  })

  it('is left when its lane is cut off in the middle of a piece', async () => {
    const { parent, close } = await startLane(({ id, length }, stream) => {
      stream.write(encodeFrame({ type: 'response', id, status: 'ok', length }))
      stream.write(Buffer.alloc(1000))
      close()
    })
    const { client, counts } = startClient({ streams: memoryStreams(answering(right)) })
    const beganMs = performance.now()
    await client.fetch(blob.request(1, target, parent), never)
    expect(performance.now() - beganMs).toBeGreaterThan(500)
    expect(performance.now() - beganMs).toBeLessThan(1000)
    expect((await readFile(target)).subarray(blob.layout.offset(1)).equals(blob.piece(1))).toBe(true)
    expect(counts.bytes('received')).toBe(1000)
    expect(counts.requests('received', 'ok', 'libp2p')).toBe(1)
  })

  it('is noticed with another one, before a piece has waited for it', async () => {
    const [cut, alsoCut, open] = [await startLane(right), await startLane(right), await startLane(right)]
    const { client, counts, findings } = startClient({ streams: memoryStreams(answering(right)) })
    const fetch = (from: LaneParent) => client.fetch(blob.request(0, target, from), never)
    for (const { parent } of [cut, alsoCut, open]) await fetch(parent)
    expect(counts.openConnections('received')).toBe(3)
    cut.falls = true
    cut.close()
    alsoCut.close()
    await fetch(cut.parent)
    await until(() => findings.filter((finding) => finding === 'unreached').length === 2)
    await until(() => counts.openConnections('received') === 1)
    await fetch(open.parent)
    expect(counts.requests('received', 'ok')).toBe(4)
  })

  it('is waited for when it is silent, but its lane is reached', async () => {
    const parent = await startParent((request, socket) => {
      if (request.type === 'request') setTimeout(() => right(request, socket), 1900)
    })
    const streams = memoryStreams(answering(right))
    const { client, counts } = startClient({ streams })
    await client.fetch(blob.request(0, target, parent), never)
    expect(counts.requests('received', 'ok')).toBe(1)
    expect(streams.opened()).toBe(0)
  })
})

describe('a stream in place of the lane', () => {
  it.each([
    ['busy', { uploadSlots: 1 }],
    ['notHeld', { held: () => undefined }],
  ])('says %s', async (code, options) => {
    const { serve, threadSlots } = await startServer(options)
    threadSlots.take(threadSlots.requesterOf('somebody'), 1)
    const { client, counts } = startClient({ streams: memoryStreams(serve) })
    await expect(client.fetch(blob.request(0, target, refusing()), never)).rejects.toMatchObject({ code })
    expect(counts.requests('received', code as 'busy', 'libp2p')).toBe(1)
  })

  it('finds a wrong byte, and blames the parent', async () => {
    const bad = join(folder.path, 'bad-stream')
    await copyFile(blob.held.file, bad)
    const bytes = Buffer.from(blob.bytes)
    bytes.writeUInt8(bytes.readUInt8(7) ^ 1, 7)
    await writeFile(bad, bytes)
    const { serve } = await startServer({ held: () => ({ ...blob.held, file: bad }) })
    const { client } = startClient({ streams: memoryStreams(serve) })
    await expect(client.fetch(blob.request(0, target, refusing()), never)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(parentNode.peerId),
    })
    await client.fetch(blob.request(1, target, refusing()), never)
  })

  it('gives up a parent that stalls', async () => {
    const streams = memoryStreams(
      answering((request, stream) => {
        stream.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
        stream.write(blob.piece(request.piece).subarray(0, 1000))
      }),
    )
    const { client, counts } = startClient({ streams, stallTimeoutMs: 150 })
    await expect(client.fetch(blob.request(0, target, refusing()), never)).rejects.toMatchObject({ code: 'stalled' })
    expect(counts.openConnections('received', 'libp2p')).toBe(0)
    expect(counts.bytes('received', 'libp2p')).toBe(1000)
  })

  it('gives up a parent that sends drop by drop', async () => {
    const streams = memoryStreams(
      answering((request, stream) => {
        stream.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
        const timer = setInterval(() => stream.write(Buffer.alloc(1)), 20)
        stream.once('close', () => clearInterval(timer))
      }),
    )
    const times = { stallTimeoutMs: 1000, patienceMs: 300, slowestBytesPerSecond: 1e9 }
    const { client } = startClient({ streams, ...times })
    await expect(client.fetch(blob.request(0, target, refusing()), never)).rejects.toMatchObject({
      code: 'stalled',
      message: expect.stringContaining('too slowly'),
    })
  })

  it('refuses a parent that sends garbage, or more than was asked for', async () => {
    const random = randomNumbers(5)
    for (let run = 0; run < 200; run++) {
      const garbage = Buffer.concat([mutatedStream(frameSamples(), random), Buffer.alloc(4, 0xff)])
      const streams = memoryStreams(answering((_request, stream) => void stream.write(garbage)))
      const { client } = startClient({ streams, stallTimeoutMs: 100 })
      await expect(client.fetch(blob.request(0, target, refusing()), never)).rejects.toMatchObject({
        code: expect.stringMatching(/^(protocol|busy|notHeld|corrupt|stalled)$/),
      })
      client.close()
    }
    const streams = memoryStreams(
      answering(({ id, length }, stream) => {
        stream.write(encodeFrame({ type: 'response', id, status: 'ok', length: length + 1 }))
      }),
    )
    const { client } = startClient({ streams })
    await expect(client.fetch(blob.request(0, target, refusing()), never)).rejects.toMatchObject({ code: 'protocol' })
  })

  it('keeps to the rate limits of both ends', async () => {
    const rate = 4 * 1024 * 1024
    const limits = new NodeLimits({ uploadBytesPerSecond: rate, downloadBytesPerSecond: 0, originBytesPerSecond: 0 })
    const { serve } = await startServer({ limits })
    const slow = new NodeLimits({ uploadBytesPerSecond: 0, downloadBytesPerSecond: rate, originBytesPerSecond: 0 })
    for (const end of [
      { serve, limit: new NodeLimits().own.download },
      { serve: (await startServer()).serve, limit: slow.own.download },
    ]) {
      const { client } = startClient({ streams: memoryStreams(end.serve), limit: end.limit })
      const beganMs = performance.now()
      for (let piece = 0; piece < blob.layout.count; piece++) {
        await client.fetch(blob.request(piece, target, refusing()), never)
      }
      // What an idle bucket saved comes at once, a tenth of a second's worth.
      const leastMs = (blob.bytes.length / rate) * 1000 - 150
      expect(performance.now() - beganMs).toBeGreaterThan(leastMs)
      expect(performance.now() - beganMs).toBeLessThan(2 * leastMs + 500)
    }
  })

  it('drops a peer that does not read, and serves others', async () => {
    const { serve, slots } = await startServer({ uploadSlots: 1, writeTimeoutMs: 100 })
    const streams = memoryStreams(serve)
    const stuck = streams.open(refusing(), { opened: () => {}, read: () => false })
    const gone = once(stuck, 'close')
    stuck.write(Buffer.concat([HELLO, requestFrame(0), requestFrame(1)]))
    await gone
    await until(() => slots.held() === 0)
    const { client } = startClient({ streams })
    await client.fetch(blob.request(0, target, refusing()), never)
  })

  it('is dropped when the peer does not say hello', async () => {
    const { serve } = await startServer({ handshakeTimeoutMs: 50 })
    const stream = memoryStreams(serve).open(refusing(), { opened: () => {}, read: () => true })
    await once(stream, 'close')
  })

  it('stands mutated streams and serves others meanwhile', async () => {
    const { serve, slots, failures } = await startServer({ uploadSlots: 4, idleCloseMs: 1000 })
    const streams = memoryStreams(serve)
    const { client } = startClient({ streams })
    const random = randomNumbers(7)
    const samples = [...frameSamples(), ...Array.from({ length: blob.layout.count }, (_, piece) => requestFrame(piece))]
    for (let run = 0; run < 500; run++) {
      const stream = streams.open(refusing(), { opened: () => {}, read: () => true })
      stream.on('error', () => {})
      stream.write(Buffer.concat([random(10) > 0 ? HELLO : Buffer.alloc(0), mutatedStream(samples, random)]))
      await new Promise((resolve) => setImmediate(resolve))
      stream.destroy()
    }
    await until(() => slots.held() === 0)
    await client.fetch(blob.request(0, target, refusing()), never)
    expect(failures).toEqual([])
  })
})

describe('a peer that comes over libp2p as the lane is cut off', () => {
  it('loses the connections that stand still, and their upload slots', async () => {
    const { parent, server, slots, counts } = await startServer({ uploadSlots: 32 })
    const [idle, stuck] = [await dial(parent), await dial(parent)]
    idle.write(HELLO)
    stuck.pause()
    stuck.write(Buffer.concat([HELLO, ...Array.from({ length: 32 }, (_, id) => requestFrame(0, id))]))
    await until(() => slots.held() > 0)
    server.cutOff(childNode.peerId)
    // One that has just been written to does not stand still.
    expect(counts.openConnections('sent')).toBe(2)
    const beganMs = performance.now()
    await until(() => {
      server.cutOff(parentNode.peerId)
      return performance.now() - beganMs > 800
    })
    expect(counts.openConnections('sent')).toBe(2)
    await until(() => {
      server.cutOff(childNode.peerId)
      return slots.held() === 0
    })
    expect(counts.openConnections('sent')).toBe(1)
  })
})
