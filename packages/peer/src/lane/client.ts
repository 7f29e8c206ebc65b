import { createSecureContext } from 'node:tls'
import type { SharedBucket } from '@shoal/core'
import { ClientConnection, type ClientContext } from './client-connection.ts'
import { type Links, tlsLinks } from './client-link.ts'
import { LaneError, type LaneErrorCode } from './errors.ts'
import { LinkShare } from './link-share.ts'
import { type LaneCredentials, laneSecureOptions } from './peer-certificate.ts'
import { type LaneParent, PieceFetch, type PieceRequest } from './piece-fetch.ts'
import { watchForQuiet } from './quiet.ts'
import type { LaneCounts, LaneOutcome, Transport } from './shared-counts.ts'
import type { Way } from './unreached.ts'

export interface LaneClientOptions {
  /** TCP, TLS and hello together. */
  readonly connectTimeoutMs: number
  /** A parent that sends no byte for this long while a piece is awaited has stalled. */
  readonly stallTimeoutMs: number
  /** A connection without requests is closed after this. */
  readonly idleCloseMs: number
  /** A piece has stalled as well when it takes longer than `patienceMs` and what it takes at this rate. */
  readonly slowestBytesPerSecond?: number
  readonly patienceMs?: number
}

/**
 * What was found out about the way to a parent:
 * - `reached`: its lane answers
 * - `unreached`: its lane does not, but a libp2p stream does
 * - `lost`: neither does
 */
export type Finding = 'reached' | 'unreached' | 'lost'

export interface LaneClientDependencies {
  readonly credentials: LaneCredentials
  readonly counts: LaneCounts
  /** The node's download limit; left out: none. */
  readonly limit?: SharedBucket
  /** libp2p streams to parents whose lane is not reached; left out: these are unreachable. */
  readonly streams?: Links
  /** Told what is found out about the way to a parent, again and again, and why its lane is not reached. */
  readonly found?: (parent: LaneParent, finding: Finding, why?: LaneErrorCode) => void
  /** This node's peer id, to know it when it answers itself; left out: it is not known. */
  readonly ownPeerId?: string
  /** Told when the clock of a parent is far ahead of ours; negative: behind. Left out: nobody asks. */
  readonly clockDiffers?: (peerId: string, aheadMs: number) => void
}

/** How a piece is to be fetched. */
export interface FetchChoice {
  /** `retry`: over libp2p while it is tried in the background whether the lane is reached again. Left out: the lane. */
  readonly way?: Way
  /** Aborts when another parent is at hand for the piece: this one has stalled when it is quiet for long. */
  readonly hurry?: AbortSignal | undefined
  /** Called when the piece has nearly come, if it takes long enough for that to be of use. */
  readonly ending?: () => void
}

interface Wish {
  readonly request: PieceRequest
  readonly signal: AbortSignal
  readonly hurry: AbortSignal | undefined
  readonly ending: (() => void) | undefined
}

/** Connections kept for each transport; the ones unused for longest are closed for new ones beyond it. */
const MAX_CONNECTIONS = 256
/** How often all connections are looked at because one is cut off, at the most. */
const LOOK_AT_ALL_MS = 2000
/** Bytes read from a socket at once; TLS hands them over in records of 16 KiB. */
const READ_BYTES = 64 * 1024

/** The fetching side of the lane in one thread: one persistent connection to each parent. */
export class LaneClient {
  readonly #deps: LaneClientDependencies
  readonly #contexts: Readonly<Record<Transport, ClientContext>>
  /** What was wrong with lanes that are not reached. */
  readonly #reasons = new Map<string, LaneErrorCode>()
  #lookedAtAllMs = Number.NEGATIVE_INFINITY
  readonly #freeStages: Buffer[] = []
  /** In the order of last use. */
  readonly #connections: Readonly<Record<Transport, Map<string, ClientConnection>>> = {
    tls: new Map(),
    libp2p: new Map(),
  }

  constructor(options: LaneClientOptions, deps: LaneClientDependencies) {
    this.#deps = deps
    const { counts, limit, streams } = deps
    const secureContext = createSecureContext(laneSecureOptions(deps.credentials))
    const links = tlsLinks(secureContext, Buffer.allocUnsafeSlow(READ_BYTES))
    const share = new LinkShare(() => this.#busy)
    const shared = { ...options, limit, share, ownPeerId: deps.ownPeerId }
    this.#contexts = {
      tls: { ...shared, links, counts: counts.tls, isEager: streams !== undefined },
      libp2p: { ...shared, links: streams ?? links, counts: counts.libp2p },
    }
  }

  /**
   * Fetches a piece into its file and verifies it. When it resolves or rejects, nothing is written any more. Throws
   * LaneError.
   */
  async fetch(
    request: PieceRequest,
    signal: AbortSignal,
    { way = 'tls', hurry, ending }: FetchChoice = {},
  ): Promise<void> {
    const wish = { request, signal, hurry, ending }
    if (way === 'retry') this.#tryLane(request.parent)
    if (way === 'tls') await this.#fetchByLane(wish)
    else await this.#fetchBy('libp2p', wish)
  }

  /** By the lane; when it is not reached, over libp2p; when that fails too, by the lane if it was only late. */
  async #fetchByLane(wish: Wish): Promise<void> {
    try {
      await this.#fetchBy('tls', wish)
    } catch (error) {
      if (this.#deps.streams === undefined || !isUnreached(error)) throw error
      this.#remember(wish.request.parent, error.code)
      try {
        await this.#fetchBy('libp2p', wish)
      } catch (cause) {
        if (!isUnreached(cause)) throw cause
        if (this.#connections.tls.has(keyOf(wish.request.parent))) await this.#fetchBy('tls', wish, true)
        else throw new LaneError(error.code, `${error.message}; ${cause.message}`, { cause, data: { ...error.data } })
      }
    }
  }

  async #fetchBy(transport: Transport, wish: Wish, isPatient = false): Promise<void> {
    const { request } = wish
    let outcome: LaneOutcome = 'ok'
    let bytes = 0
    try {
      for (let attempt = 0; ; attempt++) {
        const fetch = new PieceFetch(request, this.#freeStages, wish.ending)
        try {
          await this.#attempt(transport, fetch, wish, isPatient)
          return
        } catch (error) {
          // A kept connection may have been closed by the parent for idleness just as we asked.
          if (attempt > 0 || !(error instanceof LaneError) || error.data.isStale !== true) throw error
        } finally {
          bytes += fetch.received
        }
      }
    } catch (error) {
      outcome = error instanceof LaneError ? error.code : 'local'
      if (transport === 'libp2p' && isUnreached(error)) this.#deps.found?.(request.parent, 'lost')
      throw error
    } finally {
      this.#contexts[transport].counts.ended('received', outcome, bytes)
    }
  }

  /** Connections that wait for bytes. */
  get #busy(): number {
    let busy = 0
    for (const connections of Object.values(this.#connections)) {
      for (const connection of connections.values()) if (!connection.isIdle) busy++
    }
    return busy
  }

  close(): void {
    for (const connections of Object.values(this.#connections)) {
      for (const connection of connections.values()) {
        connection.destroy(new LaneError('aborted', 'the lane is being closed'))
      }
    }
  }

  /** Connects to the parent's lane anew, unless a connection is in use or on its way. */
  #tryLane(parent: LaneParent): void {
    const kept = this.#connections.tls.get(keyOf(parent))
    if (kept?.isIdle) kept.destroy(new LaneError('unreachable', 'closed to connect anew'))
    this.#connectionTo(parent, 'tls')
  }

  async #attempt(transport: Transport, fetch: PieceFetch, { signal, hurry }: Wish, isPatient: boolean): Promise<void> {
    const { parent } = fetch.request
    let connection: ClientConnection | undefined
    let stopWatch = () => {}
    const leave = (error: LaneError) => {
      fetch.fail(error)
      connection?.drop(fetch)
    }
    const abort = () => leave(aborted(fetch.request))
    const watch = () => {
      const leftMs = (ms: number) => connection?.leftQuietMs(fetch.beganMs, ms) ?? ms
      stopWatch = watchForQuiet(leftMs, () => leave(quiet(fetch.request)))
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
    try {
      if (!fetch.isSettled) {
        connection = this.#connectionTo(parent, transport)
        connection.request(fetch, isPatient)
        if (hurry?.aborted) watch()
        else hurry?.addEventListener('abort', watch, { once: true })
      }
    } catch (cause) {
      fetch.fail(new LaneError('unreachable', `${parent.host}:${parent.port} is no address of a lane`, { cause }))
    }
    try {
      await fetch.done
    } finally {
      signal.removeEventListener('abort', abort)
      hurry?.removeEventListener('abort', watch)
      stopWatch()
    }
  }

  #ready(parent: LaneParent, transport: Transport): void {
    const { found } = this.#deps
    const key = keyOf(parent)
    if (transport === 'tls') {
      this.#reasons.delete(key)
      found?.(parent, 'reached')
    } else if (this.#connections.tls.get(key)?.isReady !== true) {
      // It may have been late only, and there before the stream.
      found?.(parent, 'unreached', this.#reasons.get(key))
    }
  }

  #remember(parent: LaneParent, why: LaneErrorCode): void {
    this.#reasons.set(keyOf(parent), why)
    const [first] = this.#reasons.keys()
    if (this.#reasons.size > MAX_CONNECTIONS && first !== undefined) this.#reasons.delete(first)
  }

  /** What cut one parent off may have cut off others: they are looked at before pieces have waited for them. */
  #cutOff(parent: LaneParent, cut: ClientConnection): void {
    this.#connectionTo(parent, 'libp2p')
    if (performance.now() - this.#lookedAtAllMs < LOOK_AT_ALL_MS) return
    this.#lookedAtAllMs = performance.now()
    for (const connection of this.#connections.tls.values()) if (connection !== cut) connection.probe()
  }

  #connectionTo(parent: LaneParent, transport: Transport): ClientConnection {
    const connections = this.#connections[transport]
    const key = keyOf(parent)
    let connection = connections.get(key)
    if (connection !== undefined) {
      connections.delete(key)
    } else {
      if (connections.size >= MAX_CONNECTIONS) closeOneIdle(connections)
      connection = new ClientConnection(parent, this.#contexts[transport], {
        ready: () => this.#ready(parent, transport),
        clockDiffers: (aheadMs) => this.#deps.clockDiffers?.(parent.peerId, aheadMs),
        cutOff: (cut) => this.#cutOff(parent, cut),
        closed: (closed) => {
          if (connections.get(key) === closed) connections.delete(key)
        },
      })
    }
    connections.set(key, connection)
    return connection
  }
}

function closeOneIdle(connections: ReadonlyMap<string, ClientConnection>): void {
  for (const connection of connections.values()) {
    if (!connection.isIdle) continue
    connection.destroy(new LaneError('unreachable', 'closed to make room'))
    return
  }
}

function keyOf({ peerId, host, port }: LaneParent): string {
  return `${peerId}@${host}:${port}`
}

function isUnreached(error: unknown): error is LaneError {
  return error instanceof LaneError && error.data.isUnreached === true
}

function aborted(request: PieceRequest): LaneError {
  return new LaneError('aborted', `the fetch of piece ${request.piece} of ${request.digest} was aborted`)
}

function quiet({ piece, digest, parent }: PieceRequest): LaneError {
  const message = `${parent.peerId} sends nothing of piece ${piece} of ${digest}, which another node is to send`
  return new LaneError('stalled', message)
}
