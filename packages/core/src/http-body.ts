import type { ServerResponse } from 'node:http'

/** Bounds on how slowly a client may read. */
export interface BodyPatience {
  /** It may take no byte for so long. */
  readonly stallMs: number
  /** And a chunk may take so long as a whole, however it trickles. */
  readonly chunkMs: number
}

/** 512 KiB in five minutes are 1.7 KiB/s. */
const PATIENCE: BodyPatience = { stallMs: 30_000, chunkMs: 300_000 }

/** Clocks are set for writes that last so long only: to set them for each costs a fifth of a fast client's time. */
const LOOK_MS = 1000

/** A write that the system has not taken yet. */
interface Pending {
  wasSeen: boolean
  /** Sets the clocks; once. */
  readonly watch: () => void
}

const pending = new Set<Pending>()
let looking: NodeJS.Timeout | undefined

function look(): void {
  for (const write of pending) {
    if (write.wasSeen) write.watch()
    write.wasSeen = true
  }
  if (pending.size > 0) return
  clearInterval(looking)
  looking = undefined
}

/**
 * Writes a part of a response's body; resolves when the system has taken it, so its buffer may be used again. False
 * when the client has left, or reads too slowly: then the connection is closed. Time that passes between two chunks is
 * nobody's fault and does not count.
 */
export function writeBody(response: ServerResponse, chunk: Uint8Array, patience = PATIENCE): Promise<boolean> {
  return new Promise((resolve) => {
    if (response.destroyed) return resolve(false)
    let timer: NodeJS.Timeout | undefined
    const cut = () => void response.destroy()
    const write: Pending = {
      wasSeen: false,
      watch: () => {
        if (timer !== undefined) return
        timer = setTimeout(cut, patience.chunkMs)
        // Node counts a part of the chunk that was taken as a sign of life.
        response.once('timeout', cut)
        response.setTimeout(patience.stallMs)
      },
    }
    const ended = (isTaken: boolean) => {
      pending.delete(write)
      response.off('close', left)
      if (timer !== undefined) {
        clearTimeout(timer)
        response.off('timeout', cut)
        if (isTaken) response.setTimeout(0)
      }
      resolve(isTaken)
    }
    // A write that waits in a queue when the connection breaks is never called back.
    const left = () => ended(false)
    response.once('close', left)
    if (patience.stallMs <= LOOK_MS) write.watch()
    pending.add(write)
    looking ??= setInterval(look, LOOK_MS).unref()
    response.write(chunk, (error) => ended(error === null || error === undefined))
  })
}
