import { createLogger } from '@shoal/core'
import { describe, expect, it, vi } from 'vitest'
import { Announced } from '../../../src/download/announced.ts'
import type { Download } from '../../../src/download/download.ts'
import type { BlobRequest } from '../../../src/download/downloads.ts'

const requestOf = (digest: string): BlobRequest => ({ digest, source: { registry: 'r', repository: 'x' }, size: 1 })
const requestsOf = (count: number) => Array.from({ length: count }, (_, i) => requestOf(`${i}`))

/** Downloads that end when they are told to, of blobs of which some are here already. */
function world(here: readonly string[] = []) {
  const stopping = new AbortController()
  const ends = new Map<string, (error?: Error) => void>()
  const wanted: string[] = []
  const announced = new Announced({
    want: ({ digest }) => {
      wanted.push(digest)
      return new Promise((resolve, reject) => {
        const ended = new Promise<'complete'>((end) => {
          ends.set(digest, (error) => (error === undefined ? end('complete') : reject(error)))
        })
        // Settled only by `ends`.
        void ended.then(() => resolve({ ended } as unknown as Download))
      })
    },
    isNeeded: (digest) => !here.includes(digest),
    log: createLogger('test', 'silent'),
    signal: stopping.signal,
  })
  return { announced, ends, wanted, stopping }
}

describe('announced blobs', () => {
  it('are fetched in order, 32 at once, each when one before it has ended, well or not', async () => {
    const { announced, ends, wanted } = world()
    announced.add(requestsOf(100))
    expect(wanted).toEqual(requestsOf(32).map(({ digest }) => digest))
    ends.get('7')?.()
    ends.get('3')?.(new Error('no room'))
    await vi.waitFor(() => expect(wanted.slice(32)).toEqual(['32', '33']))
  })

  it('are passed over when they are here, or on their way, by the time that it is their turn', async () => {
    const here: string[] = []
    const { announced, ends, wanted } = world(here)
    announced.add(requestsOf(34))
    here.push('32')
    ends.get('0')?.()
    await vi.waitFor(() => expect(wanted.slice(32)).toEqual(['33']))
  })

  it('wait once, however often they are announced', async () => {
    const { announced, ends, wanted } = world()
    announced.add(requestsOf(33))
    announced.add([requestOf('32')])
    ends.get('0')?.()
    ends.get('1')?.()
    await vi.waitFor(() => expect(wanted).toHaveLength(33))
    await new Promise(setImmediate)
    expect(wanted).toHaveLength(33)
  })

  it('are left alone when the node stops', async () => {
    const { announced, ends, wanted, stopping } = world()
    announced.add(requestsOf(40))
    stopping.abort()
    ends.get('0')?.()
    await new Promise(setImmediate)
    expect(wanted).toHaveLength(32)
  })
})
