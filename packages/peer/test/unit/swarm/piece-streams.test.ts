import type { Connection, Stream, StreamHandler } from '@libp2p/interface'
import { createLogger } from '@shoal/core'
import type { Libp2p } from 'libp2p'
import { describe, expect, it } from 'vitest'
import { PieceStreams } from '../../../src/swarm/piece-streams.ts'

class FakeStream extends EventTarget {
  aborted = false
  abort(): void {
    this.aborted = true
    this.dispatchEvent(new Event('close'))
  }
}

describe('streams for pieces', () => {
  const start = async () => {
    const peers: string[] = []
    const streams = new PieceStreams({
      servePieces: (peerId) => peers.push(peerId),
      log: createLogger('test', 'silent'),
    })
    let handler: StreamHandler = () => {}
    const node = {
      handle: async (_protocol: string, given: StreamHandler) => {
        handler = given
      },
    }
    await streams.serveOn(node as unknown as Libp2p)
    const come = (peer: string) => {
      const stream = new FakeStream()
      handler(stream as unknown as Stream, { remotePeer: peer } as unknown as Connection)
      return stream
    }
    return { peers, come }
  }

  it('are refused when there are too many, whoever has them, and accepted again when one is closed', async () => {
    const { peers, come } = await start()
    const open = Array.from({ length: 256 }, (_, number) => come(`peer-${number % 8}`))
    expect(open.some(({ aborted }) => aborted)).toBe(false)
    expect(come('late').aborted).toBe(true)
    open[3]?.abort()
    expect(come('later').aborted).toBe(false)
    expect(peers.length).toBe(257)
    expect(peers).not.toContain('late')
  })

  it('are refused to who opens and closes them without end, and not to others', async () => {
    const { peers, come } = await start()
    for (let count = 0; count < 1000; count++) come('restless').abort()
    expect(peers.length).toBeLessThan(200)
    expect(come('other').aborted).toBe(false)
  })
})
