import { createHash } from 'node:crypto'
import { closeSync, openSync, writeSync } from 'node:fs'
import type { MessagePort } from 'node:worker_threads'
import { OWNER_ONLY, PieceLayout } from '@shoal/core'
import type { OriginClient } from '@shoal/origin'
import { localError } from '../lane/piece-fetch.ts'

/** Consecutive pieces to fetch from an origin into a file. */
export interface OriginRun {
  readonly registry: string
  readonly repository: string
  readonly authorization?: string | undefined
  /** OCI digest of the blob. */
  readonly digest: string
  /** Bytes of the whole blob. */
  readonly size: number
  readonly firstPiece: number
  readonly pieceCount: number
  readonly file: string
  /** Whether the file is made for the one piece that the blob is; else, and left out, it exists with `size` bytes. */
  readonly isNewFile?: boolean
  /** One number that grows by the bytes that come, and wraps around; left out: nobody asks. */
  readonly arrivals?: Int32Array<SharedArrayBuffer>
  /** Told of each piece when it is written. */
  readonly progress: MessagePort
}

/** A piece that was fetched from the origin and written. */
export interface WrittenPiece {
  readonly piece: number
  /** 32 bytes. */
  readonly sha256: Uint8Array
}

/**
 * Fetches the run in one request; hashes and writes bytes as they come, so a slow disk slows the origin's connection.
 * Throws OriginError, or LaneError `local` when the file can not be written.
 */
export async function fetchOriginRun(
  client: OriginClient,
  run: OriginRun,
  signal: AbortSignal,
): Promise<{ rangesIgnored: boolean }> {
  const layout = new PieceLayout(run.size)
  const lastPiece = run.firstPiece + run.pieceCount - 1
  const call = {
    registry: run.registry,
    repository: run.repository,
    authorization: run.authorization,
    digest: run.digest,
    size: run.size,
    start: layout.offset(run.firstPiece),
    end: layout.offset(lastPiece) + layout.length(lastPiece) - 1,
    signal,
  }
  const fd = openFile(run)
  try {
    const cutter = new PieceCutter(fd, run, layout)
    return await client.fetchBlob(call, (chunk) => cutter.accept(chunk))
  } finally {
    closeSync(fd)
  }
}

/** Cuts a stream of bytes into pieces, each written and hashed. */
class PieceCutter {
  readonly #fd: number
  readonly #run: OriginRun
  readonly #layout: PieceLayout
  #piece: number
  #done = 0
  #hash = createHash('sha256')

  constructor(fd: number, run: OriginRun, layout: PieceLayout) {
    this.#fd = fd
    this.#run = run
    this.#layout = layout
    this.#piece = run.firstPiece
  }

  accept(chunk: Buffer): void {
    if (this.#run.arrivals !== undefined) Atomics.add(this.#run.arrivals, 0, chunk.byteLength)
    for (let taken = 0; taken < chunk.byteLength; ) {
      const length = this.#layout.length(this.#piece)
      const part = chunk.subarray(taken, taken + length - this.#done)
      this.#hash.update(part)
      this.#write(part)
      taken += part.byteLength
      this.#done += part.byteLength
      if (this.#done === length) this.#finishPiece()
    }
  }

  #finishPiece(): void {
    const written: WrittenPiece = { piece: this.#piece, sha256: new Uint8Array(this.#hash.digest()) }
    this.#run.progress.postMessage(written)
    this.#piece++
    this.#done = 0
    this.#hash = createHash('sha256')
  }

  #write(bytes: Buffer): void {
    const offset = this.#layout.offset(this.#piece) + this.#done
    try {
      for (let done = 0; done < bytes.byteLength; ) {
        done += writeSync(this.#fd, bytes, done, bytes.byteLength - done, offset + done)
      }
    } catch (cause) {
      throw localError('write', this.#run.file, cause)
    }
  }
}

function openFile({ file, isNewFile }: OriginRun): number {
  try {
    return openSync(file, isNewFile ? 'w' : 'r+', OWNER_ONLY.file)
  } catch (cause) {
    throw localError('open', file, cause)
  }
}
