import type { PieceLayout } from '@shoal/core'

/** The ways over which the blob goes from one process to the other. */
export const VARIANTS = ['plainTcp', 'plainTls', 'libp2p', 'laneReceive', 'laneHash', 'laneStore'] as const
export type Variant = (typeof VARIANTS)[number]

/** Worker threads on each side. */
export const THREADS = 2
/** Pieces asked for at once, over all threads. */
export const IN_FLIGHT = 8
/** What each server reads from the file and sends at once, as the lane's server does. */
export const SEND_BYTES = 512 * 1024
/** What each receiver takes from a socket at once, as the lane's client does. */
export const READ_BYTES = 64 * 1024

/** The blob that is sent. */
export interface Blob {
  readonly file: string
  /** OCI digest. */
  readonly digest: string
  readonly sizeBytes: number
  /** Of each piece. */
  readonly sha256: readonly Uint8Array[]
}

/** Where the uploading process serves the blob. */
export interface Uploader {
  readonly peerId: string
  readonly lanePort: number
  readonly plainPort: number
  /** As `plainPort`, with the lane's TLS. */
  readonly tlsPort: number
  readonly multiaddr: string
}

/** What a process is started with: the first message it gets. */
export interface Settings {
  readonly folder: string
  readonly blob: Blob
  /** For the downloading process. */
  readonly uploader?: Uploader
}

/** Seconds and CPU of one transfer in the downloading process. */
export interface Measured {
  readonly seconds: number
  readonly cpuSeconds: number
}

/** One way to get the blob, in the downloading process. */
export interface Transport {
  /** Connects and gets a piece over each connection, so that handshakes are not in the measure. */
  connect(): Promise<void>
  /** Gets every piece, IN_FLIGHT at a time. */
  fetchAll(): Promise<void>
  disconnect(): Promise<void>
}

/** A request of the plain servers: where the bytes start and how many; they come as the answer, in order. */
const REQUEST_BYTES = 12

/** The request for one piece. */
export function encodeRequest(layout: PieceLayout, piece: number): Buffer {
  const request = Buffer.alloc(REQUEST_BYTES)
  request.writeBigUInt64BE(BigInt(layout.offset(piece)), 0)
  request.writeUInt32BE(layout.length(piece), 8)
  return request
}

/** Cuts what a connection gets into requests. */
export class RequestReader {
  #rest: Buffer = Buffer.alloc(0)

  /** The requests that are whole now. */
  push(bytes: Uint8Array): { offset: number; length: number }[] {
    const requests = []
    this.#rest = Buffer.concat([this.#rest, bytes])
    for (; this.#rest.length >= REQUEST_BYTES; this.#rest = this.#rest.subarray(REQUEST_BYTES)) {
      requests.push({ offset: Number(this.#rest.readBigUInt64BE(0)), length: this.#rest.readUInt32BE(8) })
    }
    return requests
  }
}
