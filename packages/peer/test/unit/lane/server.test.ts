import { appendFile, copyFile, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { decodeFrame, encodeFrame } from '../../../src/lane/frames.ts'
import { LANE_ALPN } from '../../../src/lane/peer-certificate.ts'
import {
  blob,
  cleanups,
  closed,
  dial,
  folder,
  HELLO,
  never,
  requestFrame,
  startClient,
  startServer,
  target,
  until,
  useEnds,
} from './ends.ts'
import { STRANGER } from './world.ts'

useEnds()

describe('lane server', () => {
  it('brings all pieces over one connection', async () => {
    const { parent, counts, slots } = await startServer({ uploadSlots: 100 })
    const { client, counts: received } = startClient()
    const file = join(folder.path, 'whole')
    await writeFile(file, '')
    const pieces = Array.from({ length: blob.layout.count }, (_, piece) => piece)
    await Promise.all(pieces.map((piece) => client.fetch(blob.request(piece, file, parent), never)))
    expect((await readFile(file)).equals(blob.bytes)).toBe(true)
    expect(counts.openConnections('sent')).toBe(1)
    expect(received.bytes('received')).toBe(blob.bytes.length)
    await until(() => slots.held() === 0)
    expect(counts.bytes('sent')).toBe(blob.bytes.length)
    expect(counts.requests('sent', 'ok')).toBe(pieces.length)
  })

  it('finds a wrong byte', async () => {
    const bad = join(folder.path, 'bad')
    await copyFile(blob.held.file, bad)
    const bytes = Buffer.from(blob.bytes)
    bytes.writeUInt8(bytes.readUInt8(blob.layout.offset(1) + 7) ^ 1, blob.layout.offset(1) + 7)
    await writeFile(bad, bytes)
    const { parent } = await startServer({ held: () => ({ ...blob.held, file: bad }) })
    const { client, counts } = startClient()
    await expect(client.fetch(blob.request(1, target, parent), never)).rejects.toMatchObject({ code: 'corrupt' })
    await client.fetch(blob.request(2, target, parent), never)
    expect(counts.requests('received', 'corrupt')).toBe(1)
    expect(counts.openConnections('received')).toBe(1)
  })

  it('does not refuse who asks for the next piece as soon as one is there', async () => {
    const { parent, counts } = await startServer({ uploadSlots: 1 })
    const { client } = startClient()
    for (let piece = 0; piece < blob.layout.count; piece++) {
      await client.fetch(blob.request(piece, target, parent), never)
    }
    expect(counts.requests('sent', 'busy')).toBe(0)
  })

  it('says busy when every slot is taken, and serves again when one is free', async () => {
    const { parent, threadSlots } = await startServer({ uploadSlots: 1 })
    const { client, counts } = startClient()
    const slot = threadSlots.take(threadSlots.requesterOf('somebody'), 1)
    if (slot === undefined) throw new Error('the only slot is not free')
    await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code: 'busy' })
    threadSlots.free(slot)
    await client.fetch(blob.request(0, target, parent), never)
    expect(counts.requests('received', 'busy')).toBe(1)
  })

  it('never sends more at once than it has slots', async () => {
    const { parent, slots } = await startServer({ uploadSlots: 2 })
    const { client } = startClient()
    const results = await Promise.allSettled(
      [0, 1, 2, 3, 4, 5, 6, 7].map((piece) =>
        client.fetch(blob.request(piece, join(folder.path, 'target'), parent), never),
      ),
    )
    const codes = results.map((result) => (result.status === 'fulfilled' ? 'ok' : result.reason.code))
    expect(codes.filter((code) => code === 'ok').length).toBeGreaterThanOrEqual(2)
    expect(codes.filter((code) => code === 'busy').length).toBeGreaterThanOrEqual(1)
    expect(codes.every((code) => code === 'ok' || code === 'busy')).toBe(true)
    await until(() => slots.held() === 0)
  })

  it('frees the slots of a peer that leaves in the middle', async () => {
    const { parent, counts, slots } = await startServer({ uploadSlots: 8 })
    const socket = await dial(parent)
    socket.pause()
    socket.write(Buffer.concat([HELLO, ...[0, 1, 2, 3, 4, 5].map((piece) => requestFrame(piece))]))
    await until(() => slots.held() > 0)
    socket.destroy()
    await until(() => slots.held() === 0 && counts.openConnections('sent') === 0)
    expect(counts.requests('sent', 'aborted') + counts.requests('sent', 'ok')).toBe(6)
  })

  it('does not send what it does not hold', async () => {
    const { parent } = await startServer()
    const { client } = startClient()
    blob.have.delete(4)
    try {
      await expect(client.fetch(blob.request(4, target, parent), never)).rejects.toMatchObject({ code: 'notHeld' })
      const other = { ...blob.request(0, target, parent), digest: `sha256:${'1'.repeat(64)}` }
      await expect(client.fetch(other, never)).rejects.toMatchObject({ code: 'notHeld' })
    } finally {
      blob.have.add(4)
    }
    await client.fetch(blob.request(4, target, parent), never)
  })

  it('refuses a range that is not a piece of the blob', async () => {
    const { parent } = await startServer()
    const { client } = startClient()
    const request = blob.request(1, target, parent)
    for (const wrong of [
      { offset: request.offset + 1 },
      { length: request.length - 1 },
      { piece: blob.layout.count },
    ]) {
      await expect(client.fetch({ ...request, ...wrong }, never)).rejects.toMatchObject({ code: 'protocol' })
    }
  })

  it('looks a moved file up again', async () => {
    const before = join(folder.path, 'before')
    const after = join(folder.path, 'after')
    await copyFile(blob.held.file, before)
    let file = before
    const { parent, blobs, lookUps } = await startServer({
      held: () => {
        const held = { ...blob.held, file }
        file = after
        return held
      },
    })
    await rename(before, after)
    const { client } = startClient()
    await client.fetch(blob.request(0, target, parent), never)
    await client.fetch(blob.request(1, target, parent), never)
    expect(lookUps.length).toBe(2)
    blobs.forget(blob.digest)
    await client.fetch(blob.request(2, target, parent), never)
    expect(lookUps.length).toBe(3)
  })

  it('says that it does not hold what it can not read', async () => {
    const gone = join(folder.path, 'gone')
    const { parent, failures } = await startServer({ held: () => ({ ...blob.held, file: gone }) })
    const { client } = startClient()
    await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code: 'notHeld' })
    await copyFile(blob.held.file, gone)
    await truncate(gone, blob.layout.offset(2))
    await client.fetch(blob.request(1, target, parent), never)
    await expect(client.fetch(blob.request(2, target, parent), never)).rejects.toMatchObject({ code: 'notHeld' })
    expect(failures.length).toBe(2)
    await appendFile(gone, 'half of a piece')
    await expect(client.fetch(blob.request(2, target, parent), never)).rejects.toMatchObject({ code: 'unreachable' })
    await rm(gone)
  })

  it('serves nobody who proves no identity', async () => {
    const { parent, counts } = await startServer()
    const anonymous = connectTls({
      host: parent.host,
      port: parent.port,
      ALPNProtocols: LANE_ALPN,
      rejectUnauthorized: false,
    })
    cleanups.push(() => void anonymous.destroy())
    anonymous.on('error', () => {})
    anonymous.write(Buffer.concat([HELLO, requestFrame(0)]))
    expect((await closed(anonymous)).length).toBe(0)
    const stranger = await dial(parent, STRANGER)
    stranger.write(Buffer.concat([HELLO, requestFrame(0)]))
    expect((await closed(stranger)).length).toBe(0)
    expect(counts.requests('sent', 'ok')).toBe(0)
  })

  it('closes on garbage, before the handshake and after it', async () => {
    const { parent, counts, slots } = await startServer()
    const raw = connectTcp(parent.port, parent.host)
    raw.on('error', () => {})
    raw.write(Buffer.alloc(4096, 0x47))
    await closed(raw)
    const socket = await dial(parent)
    socket.write(Buffer.alloc(4096, 0x47))
    expect((await closed(socket)).length).toBe(0)
    const eager = await dial(parent)
    eager.write(requestFrame(0))
    expect((await closed(eager)).length).toBe(0)
    const greedy = await dial(parent)
    greedy.write(Buffer.concat([HELLO, ...Array.from({ length: 64 }, (_, id) => requestFrame(0, id))]))
    await closed(greedy)
    await until(() => counts.openConnections('sent') === 0 && slots.held() === 0)
    const { client } = startClient()
    await client.fetch(blob.request(0, target, parent), never)
  })

  it('drops who does not finish the handshake or says no hello in time', async () => {
    const { parent, counts } = await startServer({ handshakeTimeoutMs: 100 })
    const raw = connectTcp(parent.port, parent.host)
    raw.on('error', () => {})
    await closed(raw)
    const socket = await dial(parent)
    await closed(socket)
    await until(() => counts.openConnections('sent') === 0)
  })

  it('drops a reader that takes nothing', async () => {
    const { parent, counts, slots } = await startServer({ uploadSlots: 32, writeTimeoutMs: 200 })
    const socket = await dial(parent)
    socket.pause()
    socket.write(Buffer.concat([HELLO, ...Array.from({ length: 32 }, (_, id) => requestFrame(0, id))]))
    await until(() => slots.held() > 0)
    await until(() => slots.held() === 0 && counts.openConnections('sent') === 0)
    expect(counts.requests('sent', 'aborted')).toBeGreaterThan(0)
  })

  it('tells a newer peer its version and closes', async () => {
    const { parent } = await startServer()
    const socket = await dial(parent)
    socket.write(encodeFrame({ type: 'hello', lowestVersion: 2, highestVersion: 3, features: 0 }))
    const answer = decodeFrame(await closed(socket))
    expect(answer).toMatchObject({ type: 'hello', lowestVersion: 1, highestVersion: 1 })
  })

  it('closes idle connections', async () => {
    const { parent, counts } = await startServer({ idleCloseMs: 50 })
    const { client, counts: received } = startClient()
    await client.fetch(blob.request(0, target, parent), never)
    await until(() => counts.openConnections('sent') === 0 && received.openConnections('received') === 0)
    await client.fetch(blob.request(1, target, parent), never)
  })
})
