import { once } from 'node:events'
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { writeBody } from '../../src/index.ts'

const CHUNK = Buffer.alloc(512 * 1024)
const cleanups: (() => void)[] = []
afterEach(() => {
  for (const clean of cleanups.splice(0).reverse()) clean()
})

/** Sends so many chunks, or all that is taken; resolves to how many were. */
async function send(response: ServerResponse, chunks: number, patience: { stallMs: number; chunkMs: number }) {
  let taken = 0
  while (taken < chunks && (await writeBody(response, CHUNK, patience))) taken++
  if (taken === chunks) response.end()
  return taken
}

/** A server that sends `chunks` to each client; `sent` resolves when it has ended with the first. */
async function serve(chunks: number, patience: { stallMs: number; chunkMs: number }) {
  const { promise: sent, resolve } = Promise.withResolvers<number>()
  const server = createServer((_request, response) => void send(response, chunks, patience).then(resolve))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  cleanups.push(() => {
    server.closeAllConnections()
    server.close()
  })
  const get = async (): Promise<IncomingMessage> => {
    const asked = request({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, agent: false }).end()
    cleanups.push(() => asked.destroy())
    const [response] = (await once(asked, 'response')) as [IncomingMessage]
    response.on('error', () => {})
    return response
  }
  return { get, sent }
}

describe('a body that is written chunk by chunk', () => {
  it('is cut off when the client reads nothing', async () => {
    const { get, sent } = await serve(1000, { stallMs: 200, chunkMs: 60_000 })
    const response = await get()
    response.pause()
    // What the system's buffers hold, and no more.
    expect(await sent).toBeLessThan(100)
  })

  it('is cut off when the client trickles', async () => {
    const { get, sent } = await serve(1000, { stallMs: 60_000, chunkMs: 500 })
    const response = await get()
    response.pause()
    const trickle = setInterval(() => response.read(1024), 20)
    cleanups.push(() => clearInterval(trickle))
    expect(await sent).toBeLessThan(100)
  })

  it('is sent whole to a client that rests for longer than it may stall, when nothing is written then', async () => {
    const server = createServer(async (_request, response) => {
      const patience = { stallMs: 50, chunkMs: 10_000 }
      await writeBody(response, CHUNK, patience)
      await new Promise((resolve) => setTimeout(resolve, 200))
      await writeBody(response, CHUNK, patience)
      response.end()
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(() => server.close())
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    expect((await response.arrayBuffer()).byteLength).toBe(2 * CHUNK.length)
  })

  it('leaves no listener behind', async () => {
    let counts: number[] = []
    const server = createServer(async (_request, response) => {
      await send(response, 30, { stallMs: 10_000, chunkMs: 10_000 })
      counts = ['close', 'timeout'].map((event) => response.listenerCount(event))
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    cleanups.push(() => server.close())
    const response = await fetch(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    expect((await response.arrayBuffer()).byteLength).toBe(30 * CHUNK.length)
    expect(counts[0]).toBeLessThan(3)
    expect(counts[1]).toBe(0)
  })

  it('is cut off by HTTP/2 as well', async () => {
    const { promise: sent, resolve } = Promise.withResolvers<number>()
    const server = createHttp2Server((_request, response) => {
      void send(response as unknown as ServerResponse, 1000, { stallMs: 200, chunkMs: 60_000 }).then(resolve)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const session = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    session.on('error', () => {})
    cleanups.push(() => {
      session.destroy()
      server.close()
    })
    const stream = session.request({ ':path': '/' })
    stream.on('error', () => {})
    stream.pause()
    expect(await sent).toBeLessThan(100)
  })
})
