/** The container runtime of a node, as cheap as it can be: told what to pull, it pulls, compares, and says how it went. */
import { fork } from 'node:child_process'
import { once } from 'node:events'
import { wrongBytes } from '../kit/blobs.ts'
import { read } from '../kit/client.ts'
import { killAtExit } from '../kit/processes.ts'
import { commandAt, type Place } from './places.ts'

/** containerd's `max_concurrent_downloads`. */
const PARALLEL = 3
const READ_BYTES = 256 * 1024

/** What to pull. */
export interface Pull {
  /** Read first. */
  readonly manifestUrl?: string
  readonly blobs: readonly PullBlob[]
  /** How long to wait before. */
  readonly afterMs: number
}

interface PullBlob {
  readonly url: string
  readonly seed: number
  readonly sizeBytes: number
  /** What it begins with in the place of its own first bytes, base64. */
  readonly start?: string
}

/** How it went. */
export interface Pulled {
  /** From the first request to the last byte, without the wait. */
  readonly totalMs: number
  /** Pulls that were not answered 200 with as many bytes as they should be. */
  readonly failed: number
  readonly wrongBytes: number
  readonly why: string
}

/** A client at a place. */
export interface Client {
  pull(what: Pull): Promise<Pulled>
  stop(): void
}

/** Starts a client and waits until it listens. */
export async function startClient(place: Place): Promise<Client> {
  const [command, [first = '', ...args]] = commandAt(place, process.execPath, [import.meta.filename])
  // `fork`, of whatever runs Node there: it makes the channel and names it in the environment.
  const child = fork(first, args, { execPath: command, execArgv: [] })
  killAtExit(child)
  await once(child, 'message')
  const gone = once(child, 'exit').then(() => {
    throw new Error(`the client of ${place.name} ended`)
  })
  gone.catch(() => {})
  return {
    pull: async (what) => {
      child.send(what)
      const [pulled] = (await Promise.race([once(child, 'message'), gone])) as [Pulled]
      return pulled
    },
    stop: () => child.disconnect(),
  }
}

async function carryOut({ manifestUrl, blobs, afterMs }: Pull): Promise<Pulled> {
  if (afterMs > 0) await new Promise((resolve) => setTimeout(resolve, afterMs))
  const result = { failed: 0, wrongBytes: 0, why: '' }
  const failed = (url: string, why: string) => {
    result.failed++
    result.why ||= `${url}: ${why}`
  }
  const beganMs = performance.now()
  const pullOne = async (url: string, blob: PullBlob | undefined, buffer: Buffer) => {
    const start = blob?.start === undefined ? undefined : Buffer.from(blob.start, 'base64')
    try {
      const { status, bytes } = await read(url, buffer, (body, offset) => {
        if (blob !== undefined) result.wrongBytes += wrongBytes(blob.seed, offset, body, start)
      })
      if (status !== 200 || (blob !== undefined && bytes !== blob.sizeBytes)) failed(url, `${status}, ${bytes} bytes`)
    } catch (error) {
      failed(url, String(error))
    }
  }
  const waiting = [...blobs]
  if (manifestUrl !== undefined) await pullOne(manifestUrl, undefined, Buffer.alloc(READ_BYTES))
  const pullNext = async () => {
    const buffer = Buffer.alloc(READ_BYTES)
    for (let blob = waiting.shift(); blob !== undefined; blob = waiting.shift()) {
      await pullOne(blob.url, blob, buffer)
    }
  }
  await Promise.all(Array.from({ length: Math.min(PARALLEL, blobs.length) }, pullNext))
  return { ...result, totalMs: performance.now() - beganMs }
}

if (import.meta.main) {
  process.on('message', (what: Pull) => void carryOut(what).then((pulled) => process.send?.(pulled)))
  process.on('disconnect', () => process.exit())
  process.send?.('ready')
}
