import type { TLSSocket } from 'node:tls'
import { describe, expect, it } from 'vitest'
import { blob, dial, HELLO, never, requestFrame, startClient, startServer, target, until, useEnds } from './ends.ts'
import { frameSamples, mutatedStream, randomNumbers } from './mutations.ts'

const STREAMS = 3000
const STREAMS_AT_ONCE = 8
const MIB = 1024 * 1024

useEnds()

describe('upload server under mutated streams', () => {
  it(`stands ${STREAMS} of them and serves others meanwhile`, { timeout: 60_000 }, async () => {
    const { parent, slots, failures } = await startServer({ uploadSlots: 4 })
    const { client } = startClient()
    const random = randomNumbers(3)
    const samples = [...frameSamples(), ...Array.from({ length: blob.layout.count }, (_, piece) => requestFrame(piece))]
    const before = process.memoryUsage()
    let left = STREAMS
    let connections = 0
    const attack = async (): Promise<void> => {
      let socket: TLSSocket | undefined
      while (left-- > 0) {
        if (socket === undefined || socket.destroyed || !socket.writable) {
          connections++
          socket = await dial(parent)
          socket.resume()
          if (random(10) > 0) socket.write(HELLO)
        }
        const stream = mutatedStream(samples, random)
        if (stream.length === 0) continue
        const { promise, resolve } = Promise.withResolvers<void>()
        // Also called when the server has closed the connection.
        socket.write(stream, () => resolve())
        await promise
      }
      socket?.destroy()
    }
    const attacks = Promise.all(Array.from({ length: STREAMS_AT_ONCE }, attack))
    let served = 0
    while (left > 0) {
      const piece = served % blob.layout.count
      const outcome = await client.fetch(blob.request(piece, target, parent), never).then(
        () => 'ok',
        (error: { code: string }) => error.code,
      )
      // Slots may be taken by a mutated request that is a right one.
      expect(['ok', 'busy']).toContain(outcome)
      if (outcome === 'ok') served++
    }
    await attacks
    await until(() => slots.held() === 0)
    await client.fetch(blob.request(0, target, parent), never)
    expect(served).toBeGreaterThan(20)
    expect(connections).toBeGreaterThan(STREAMS / 20)
    expect(failures).toEqual([])
    const after = process.memoryUsage()
    expect(after.rss - before.rss).toBeLessThan(256 * MIB)
    expect(after.arrayBuffers - before.arrayBuffers).toBeLessThan(64 * MIB)
  })
})
