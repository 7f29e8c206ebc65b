import { once } from 'node:events'
import { type AddressInfo, createServer as createTcpServer } from 'node:net'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { encodeFrame, type RequestFrame } from '../../../src/lane/frames.ts'
import {
  blob,
  childNode,
  cleanups,
  folder,
  never,
  parentNode,
  startClient,
  startParent,
  startServer,
  target,
  useEnds,
} from './ends.ts'

useEnds()

describe('lane client', () => {
  it('pins the identity of the parent', async () => {
    const { parent, counts } = await startServer()
    const { client } = startClient()
    const request = blob.request(0, target, { ...parent, peerId: childNode.peerId })
    await expect(client.fetch(request, never)).rejects.toMatchObject({
      code: 'otherPeer',
      message: expect.stringContaining(parentNode.peerId),
      data: { expected: childNode.peerId, found: parentNode.peerId },
    })
    expect(counts.requests('sent', 'ok')).toBe(0)
  })

  it('refuses a parent of another version', async () => {
    const hello = encodeFrame({ type: 'hello', lowestVersion: 2, highestVersion: 3, features: 0 })
    const parent = await startParent(() => {}, hello)
    const { client } = startClient()
    await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code: 'handshake' })
  })

  it('gives up a parent that stalls in the middle of a piece', async () => {
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      socket.write(blob.piece(request.piece).subarray(0, request.length / 2))
    })
    const { client, counts } = startClient({ stallTimeoutMs: 150 })
    await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code: 'stalled' })
    expect(counts.openConnections('received')).toBe(0)
    expect(counts.bytes('received')).toBe(blob.layout.length(0) / 2)
  })

  it.each([
    ['waits for', 'slow', 1024],
    ['gives up', 'fast', 128 * 1024],
  ])('%s a parent that is still while others get bytes, when the link is %s', async (_what, link, bytesAtOnce) => {
    const respond = (request: RequestFrame) =>
      encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length })
    const still = await startParent((request, socket) => {
      if (request.type !== 'request') return
      socket.write(respond(request))
      socket.write(blob.piece(0).subarray(0, 1000))
      const rest = setTimeout(() => socket.write(blob.piece(0).subarray(1000)), 900)
      cleanups.push(() => clearTimeout(rest))
    })
    const steady = await startParent((request, socket) => {
      if (request.type !== 'request') return
      socket.write(respond(request))
      let sent = 0
      const sending = setInterval(() => {
        socket.write(blob.piece(1).subarray(sent, sent + bytesAtOnce))
        sent += bytesAtOnce
      }, 50)
      cleanups.push(() => clearInterval(sending))
    })
    const { client } = startClient({ stallTimeoutMs: 300 })
    const abort = new AbortController()
    const beside = client.fetch(blob.request(1, target, steady), abort.signal).catch(() => {})
    const fetch = client.fetch(blob.request(0, target, still), never)
    if (link === 'slow') await fetch
    else await expect(fetch).rejects.toMatchObject({ code: 'stalled' })
    abort.abort()
    await beside
  })

  it('tells once that a piece which takes long has nearly come', async () => {
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      const piece = blob.piece(request.piece)
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      const shares = [0, 0.25, 0.5, 0.75, 0.99, 1]
      for (const [part, share] of shares.entries()) {
        const [from, to] = [share, shares[part + 1] ?? 1].map((each) => Math.floor(each * piece.length))
        const sending = setTimeout(() => socket.write(piece.subarray(from, to)), part * 50)
        cleanups.push(() => clearTimeout(sending))
      }
    })
    const { client } = startClient()
    const seen: string[] = []
    await client.fetch(blob.request(0, target, parent), never, { ending: () => seen.push('ending') })
    seen.push('done')
    expect(seen).toEqual(['ending', 'done'])
  })

  it('does not give a silent parent longer because it is asked for more', async () => {
    const parent = await startParent(() => {})
    const { client } = startClient({ stallTimeoutMs: 300 })
    const first = client.fetch(blob.request(0, target, parent), never)
    const asking = setInterval(() => void client.fetch(blob.request(1, target, parent), never).catch(() => {}), 100)
    cleanups.push(() => clearInterval(asking))
    await expect(first).rejects.toMatchObject({ code: 'stalled' })
  })

  it('leaves a quiet parent for another that is at hand, and with it nothing else that was asked of it', async () => {
    let requests = 0
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request' || ++requests > 1) return
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      socket.write(blob.piece(request.piece).subarray(0, request.length / 2))
    })
    const { client, counts } = startClient()
    const hurry = new AbortController()
    const abort = new AbortController()
    const late = client.fetch(blob.request(0, target, parent), never, { hurry: hurry.signal })
    const other = client.fetch(blob.request(1, target, parent), abort.signal)
    hurry.abort()
    await expect(late).rejects.toMatchObject({ code: 'stalled' })
    expect(counts.openConnections('received')).toBe(1)
    abort.abort()
    await expect(other).rejects.toMatchObject({ code: 'aborted' })
  })

  it('waits on for a parent that still sends, though another is at hand', async () => {
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      let sent = 0
      const sending = setInterval(() => {
        const next = sent + request.length / 8
        socket.write(blob.piece(request.piece).subarray(sent, next))
        sent = next
        if (sent === request.length) clearInterval(sending)
      }, 100)
      cleanups.push(() => clearInterval(sending))
    })
    const { client } = startClient()
    const arrivals = new Int32Array(new SharedArrayBuffer(4))
    await client.fetch({ ...blob.request(0, target, parent), arrivals }, never, { hurry: AbortSignal.abort() })
    expect(arrivals[0]).toBeGreaterThanOrEqual(8)
  })

  it.each([
    ['answers another request', (id: number, length: number) => ({ id: id + 1, length })],
    ['sends more than was asked for', (id: number, length: number) => ({ id, length: length + 1 })],
  ])('refuses a parent that %s', async (_what, change) => {
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      socket.write(encodeFrame({ type: 'response', status: 'ok', ...change(request.id, request.length) }))
    })
    const { client } = startClient()
    await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code: 'protocol' })
  })

  it('asks again when a kept connection turns out to be closed', async () => {
    let requests = 0
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      requests++
      if (requests === 2) {
        socket.destroy()
        return
      }
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      socket.write(blob.piece(request.piece))
    })
    const { client } = startClient()
    await client.fetch(blob.request(0, target, parent), never)
    await client.fetch(blob.request(1, target, parent), never)
    expect(requests).toBe(3)
  })

  it('does not ask again when the parent leaves in the middle of a piece', async () => {
    let requests = 0
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      requests++
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      socket.end(blob.piece(request.piece).subarray(0, 1000))
    })
    const { client } = startClient()
    await expect(client.fetch(blob.request(0, target, parent), never)).rejects.toMatchObject({ code: 'unreachable' })
    expect(requests).toBe(1)
  })

  it('says that a parent is unreachable: closed port, silent host, nonsense', async () => {
    const silent = createTcpServer(() => {})
    silent.listen(0, '127.0.0.1')
    await once(silent, 'listening')
    cleanups.push(() => void silent.close())
    const { port } = silent.address() as AddressInfo
    const { parent } = await startServer()
    const { client, counts } = startClient({ connectTimeoutMs: 100 })
    for (const place of [{ port: 1 }, { port }, { port: 70_000 }, { port: -1 }]) {
      const request = blob.request(0, target, { ...parent, ...place })
      await expect(client.fetch(request, never)).rejects.toMatchObject({ code: 'unreachable' })
    }
    expect(counts.openConnections('received')).toBe(0)
  })

  it('says that a file can not be written', async () => {
    const { parent } = await startServer()
    const { client } = startClient()
    const missing = blob.request(0, join(folder.path, 'none', 'file'), parent)
    await expect(client.fetch(missing, never)).rejects.toMatchObject({ code: 'local', data: { systemCode: 'ENOENT' } })
    const full = blob.request(0, '/dev/full', parent)
    await expect(client.fetch(full, never)).rejects.toMatchObject({ code: 'local', data: { systemCode: 'ENOSPC' } })
    await client.fetch(blob.request(0, target, parent), never)
  })

  it('drops an aborted piece and keeps the others of the connection', async () => {
    let release = () => {}
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      const piece = blob.piece(request.piece)
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      socket.write(piece.subarray(0, 1000))
      const rest = () => socket.write(piece.subarray(1000))
      if (request.piece === 0) release = rest
      else {
        release()
        rest()
      }
    })
    const { client, counts } = startClient()
    const abort = new AbortController()
    const first = client.fetch(blob.request(0, target, parent), abort.signal)
    first.catch(() => {})
    const second = client.fetch(blob.request(1, target, parent), never)
    abort.abort()
    await expect(first).rejects.toMatchObject({ code: 'aborted' })
    await second
    expect(counts.requests('received', 'aborted')).toBe(1)
    await expect(client.fetch(blob.request(0, target, parent), AbortSignal.abort())).rejects.toMatchObject({
      code: 'aborted',
    })
  })

  it('closes the connection when all it carries was aborted', async () => {
    const parent = await startParent((request, socket) => {
      if (request.type !== 'request') return
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
    })
    const { client, counts } = startClient()
    const abort = new AbortController()
    const fetches = [0, 1].map((piece) => client.fetch(blob.request(piece, target, parent), abort.signal))
    abort.abort()
    for (const result of await Promise.allSettled(fetches))
      expect(result).toMatchObject({ reason: { code: 'aborted' } })
    expect(counts.openConnections('received')).toBe(0)
  })
})
