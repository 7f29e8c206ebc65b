import { open } from 'node:fs/promises'
import { describe, expect, it } from 'vitest'
import { encodeFrame, type Frame } from '../../../src/lane/frames.ts'
import {
  blob,
  closed,
  dial,
  HELLO,
  memoryStreams,
  never,
  requestFrame,
  startClient,
  startParent,
  startServer,
  target,
  until,
  useEnds,
} from './ends.ts'

useEnds()

const flip = async () => {
  const handle = await open(blob.held.file, 'r+')
  await handle.write(Buffer.from([(blob.bytes[0] as number) ^ 1]), 0, 1, 0)
  await handle.close()
}
const rejectedFrame = (piece: number) => {
  const { digest, layout } = blob
  return encodeFrame({
    type: 'rejected',
    id: piece,
    digest,
    piece,
    offset: layout.offset(piece),
    length: layout.length(piece),
  })
}
const helloWith = (features: number) => encodeFrame({ type: 'hello', lowestVersion: 1, highestVersion: 1, features })

describe('a piece that came and was wrong', () => {
  it.each(['tls', 'libp2p'] as const)('is told to the node that sent it (%s)', async (way) => {
    const { parent, serve, rejections } = await startServer()
    const { client } = startClient({ streams: memoryStreams(serve) })
    await client.fetch(blob.request(1, target, parent), never, { way })
    expect(rejections).toEqual([])
    await flip()
    await expect(client.fetch(blob.request(0, target, parent), never, { way })).rejects.toMatchObject({
      code: 'corrupt',
    })
    await until(() => rejections.length > 0)
    expect(rejections).toEqual([[blob.digest, 0]])
    // The connection goes on.
    await client.fetch(blob.request(2, target, parent), never, { way })
    await flip()
  })

  it('is not told to a node that does not hear it', async () => {
    const frames: Frame[] = []
    const parent = await startParent((request, socket) => {
      frames.push(request)
      if (request.type !== 'request') return
      socket.write(encodeFrame({ type: 'response', id: request.id, status: 'ok', length: request.length }))
      socket.write(Buffer.alloc(request.length))
    }, helloWith(0))
    const { client } = startClient()
    for (const piece of [0, 1]) {
      await expect(client.fetch(blob.request(piece, target, parent), never)).rejects.toMatchObject({ code: 'corrupt' })
    }
    expect(frames.map(({ type }) => type)).toEqual(['request', 'request'])
  })

  it('is taken only of pieces that were sent: more is a breach', async () => {
    const { parent, rejections, counts } = await startServer()
    const socket = await dial(parent)
    socket.write(Buffer.concat([HELLO, requestFrame(0)]))
    socket.resume()
    await until(() => counts.requests('sent', 'ok') === 1)
    socket.write(rejectedFrame(0))
    await until(() => rejections.length === 1)
    socket.write(rejectedFrame(0))
    await closed(socket)
    expect(rejections).toHaveLength(1)
  })
})
