import { createLogger } from '@shoal/core'
import { describe, expect, it, vi } from 'vitest'
import { Announced } from '../../../src/download/announced.ts'
import type { Download } from '../../../src/download/download.ts'
import type { BlobRequest } from '../../../src/download/downloads.ts'

const requestOf = (digest: string, registry = 'r', repository = 'x'): BlobRequest => ({
  digest,
  source: { registry, repository },
})
const requestsOf = (count: number, prefix = '', ...where: string[]) =>
  Array.from({ length: count }, (_, i) => requestOf(`${prefix}${i}`, ...where))

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
  it('are fetched in order, 24 of a registry at once, each when one before it has ended, well or not', async () => {
    const { announced, ends, wanted } = world()
    announced.add(requestsOf(100))
    expect(wanted).toEqual(requestsOf(24).map(({ digest }) => digest))
    ends.get('7')?.()
    ends.get('3')?.(new Error('no room'))
    await vi.waitFor(() => expect(wanted.slice(24)).toEqual(['24', '25']))
  })

  it('of one registry, however many, leave room for those of others, 32 at once in all', () => {
    const { announced, wanted } = world()
    announced.add(requestsOf(100_000, 'fake', 'slow'))
    announced.add(requestsOf(20))
    expect(wanted.slice(24)).toEqual(requestsOf(8).map(({ digest }) => digest))
  })

  it('of several repositories take turns', async () => {
    const { announced, ends, wanted } = world()
    announced.add(requestsOf(5000, 'fake'))
    announced.add(requestsOf(3, 'mine', 'r', 'mine'))
    for (const i of [0, 1, 2, 3, 4]) ends.get(`fake${i}`)?.()
    await vi.waitFor(() => expect(wanted.slice(24)).toEqual(['fake24', 'mine0', 'fake25', 'mine1', 'fake26']))
  })

  it('wait in bounded numbers', async () => {
    const { announced, ends, wanted } = world()
    announced.add(requestsOf(5000))
    for (let i = 0; i < 2000; i++) {
      ends.get(`${i}`)?.()
      await new Promise(setImmediate)
    }
    expect(wanted).toHaveLength(1000)
  })

  it('are passed over when they are here, or on their way, by the time that it is their turn', async () => {
    const here: string[] = []
    const { announced, ends, wanted } = world(here)
    announced.add(requestsOf(26))
    here.push('24')
    ends.get('0')?.()
    await vi.waitFor(() => expect(wanted.slice(24)).toEqual(['25']))
  })

  it('wait once, however often they are announced', async () => {
    const { announced, ends, wanted } = world()
    announced.add(requestsOf(25))
    announced.add([requestOf('24')])
    ends.get('0')?.()
    ends.get('1')?.()
    await vi.waitFor(() => expect(wanted).toHaveLength(25))
    await new Promise(setImmediate)
    expect(wanted).toHaveLength(25)
  })

  it('are left alone when the node stops', async () => {
    const { announced, ends, wanted, stopping } = world()
    announced.add(requestsOf(40))
    stopping.abort()
    ends.get('0')?.()
    await new Promise(setImmediate)
    expect(wanted).toHaveLength(24)
  })
})
