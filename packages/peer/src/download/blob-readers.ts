import { type ByteRange, type Logger, unlessAborted, withDeadline } from '@shoal/core'
import type { BlobOrigin } from '../coordinator/events.ts'
import type { StoredBlob } from '../store/blob.ts'
import { StoreError } from '../store/errors.ts'
import type { OriginBlobs, PieceStore } from './dependencies.ts'
import type { DiskReaders } from './disk-readers.ts'
import type { Download } from './download.ts'
import type { BlobRequest } from './downloads.ts'
import { DownloadError } from './errors.ts'
import { GrowingReader } from './growing-reader.ts'
import type { Proofs } from './proofs.ts'
import type { BlobReader } from './reader.ts'
import { mayPassThrough } from './store-failure.ts'

/** A whole blob may be here twice: in the node's own store, and in the runtime's. */
const MAX_COPIES = 2
/** How long clients of one registry wait for a piece that another one's is to bring. */
const OTHERS_WAIT_MS = 20_000
/** What ends a download whose origin failed, or sent other bytes: another origin may have the right ones. */
const BREAKS_FOR_ITS_ORIGIN: ReadonlySet<string> = new Set(['ORIGIN_FAILED', 'DIGEST_MISMATCH'])

interface BlobReadersDependencies {
  readonly store: Pick<PieceStore, 'find'>
  readonly disk: DiskReaders
  readonly proofs: Proofs
  /** The download of the blob, begun if there is none. */
  readonly want: (request: BlobRequest) => Promise<Download>
  readonly blobSize: OriginBlobs['blobSize']
  readonly log: Logger
}

/** Opens blobs for clients: what this node has or gets where that is for clients of their origin, else the origin's own. */
export class BlobReaders {
  readonly #dependencies: BlobReadersDependencies

  constructor(dependencies: BlobReadersDependencies) {
    this.#dependencies = dependencies
  }

  /**
   * A reader of the blob: at once when it is here, and its origin was seen to hold it; else of the download that brings
   * it, which goes on if the reader leaves. It reads from the origin, and nothing is kept, when the store has no room, when
   * the disk fails, and when what is here is not for clients of this origin. Rejects with OriginError when it can not
   * begin, with the signal's reason when it aborts.
   */
  async open(request: BlobRequest, signal: AbortSignal): Promise<BlobReader> {
    const { digest, source } = request
    try {
      return await this.#openStored(request, signal)
    } catch (error) {
      if (signal.aborted || !mayPassThrough(error)) throw error
      const size = request.size ?? (await this.#dependencies.blobSize(digest, source, signal))
      return this.#dependencies.disk.passThrough(request, size, error)
    }
  }

  /**
   * Has the origin show that it holds a blob while that comes, before a client asks for it: its first byte waits for no
   * question then. Never rejects.
   */
  async proveAhead(download: Download, request: BlobRequest, signal: AbortSignal): Promise<void> {
    try {
      for (let piece = 0; piece < download.blob.layout.count; piece++) {
        await download.waitForPiece(piece, signal)
        await this.#mayRead(download, request, piece, signal)
      }
    } catch {
      // Whoever reads the blob hears of it.
    }
  }

  async #openStored(request: BlobRequest, signal: AbortSignal): Promise<BlobReader> {
    const { disk, log, store, want } = this.#dependencies
    const { digest } = request
    for (let tries = 0; tries < MAX_COPIES; tries++) {
      const held = store.find(digest)
      if (!held?.isComplete) break
      checkSize(held, request.size)
      const reader = await this.#openWhole(held, request, signal)
      if (reader !== undefined) return reader
      log.warn({ digest, file: held.file }, 'the file of a whole blob is gone; looking elsewhere')
      await disk.giveUp(held)
    }
    const download = await want(request)
    // Nothing of an empty blob can be waited for but its end.
    if (download.blob.size > 0) {
      const reader = this.#openGrowing(download, request)
      if (reader !== undefined) return reader
      // The file is being renamed to its final name.
    }
    await ownFailure(
      download,
      request.source,
      async (until) => {
        const outcome = await unlessAborted(download.ended, until)
        if (outcome !== 'complete') throw outcome
      },
      signal,
    )
    const reader = disk.open(download.blob, request, (piece, until) => this.#mayRead(download, request, piece, until))
    if (reader !== undefined) return reader
    throw new DownloadError('STORE_FAILED', `the file of ${digest} is gone`)
  }

  /** A reader of a whole blob, once its origin was seen to hold it; undefined when its file is gone. */
  async #openWhole(blob: StoredBlob, request: BlobRequest, signal: AbortSignal): Promise<BlobReader | undefined> {
    const { disk, proofs } = this.#dependencies
    const reader = disk.openWhole(blob, request)
    if (reader === undefined) return undefined
    const check = (piece: number, until: AbortSignal) => disk.check(blob, piece, until)
    try {
      await proofs.reach({ blob, isFromOrigin: () => false, check }, request.source, blob.layout.count - 1, signal)
      return reader
    } catch (error) {
      await reader.close()
      throw error
    }
  }

  #openGrowing(download: Download, request: BlobRequest): BlobReader | undefined {
    const { disk } = this.#dependencies
    const { blob } = download
    const { source } = request
    const held = disk.open(blob, request, async (piece, signal) => {
      await ownFailure(download, source, (until) => download.waitForPiece(piece, until), signal)
      await this.#mayRead(download, request, piece, signal)
    })
    if (held === undefined) return undefined
    const view = {
      ended: download.ended,
      isWhole: () => blob.isComplete,
      isFromOwnOrigin: (range: ByteRange) => isFromOrigin(download, source, range),
    }
    return new GrowingReader(held, view, () => disk.ownOrigin(request, blob.size))
  }

  /** Resolves when a piece that a download brought may be read by clients of an origin. */
  #mayRead(download: Download, { source }: BlobRequest, piece: number, signal: AbortSignal): Promise<void> {
    const { blob } = download
    const isFrom = (given: number) => download.isFrom(source, given)
    return this.#dependencies.proofs.reach({ blob, isFromOrigin: isFrom, check: async () => {} }, source, piece, signal)
  }
}

/**
 * Rejects with `NOT_SHARED` where `work` fails, or takes too long, by an origin that is not the reader's: its own may do
 * better.
 */
async function ownFailure(
  download: Download,
  { registry }: BlobOrigin,
  work: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const isOwn = download.origin.registry === registry
  const until = isOwn ? signal : withDeadline(OTHERS_WAIT_MS, signal)
  try {
    await work(until)
  } catch (error) {
    const isOfOrigin = error instanceof DownloadError && BREAKS_FOR_ITS_ORIGIN.has(error.code)
    if (isOwn || signal.aborted || (!isOfOrigin && !until.aborted)) throw error
    const message = `${download.digest} was fetched for clients of ${download.origin.registry}, and does not come`
    throw new DownloadError('NOT_SHARED', message, { cause: error })
  }
}

/** Whether all bytes of a range are here and came from the origin; not of the last piece, which waits for the whole. */
function isFromOrigin(download: Download, origin: BlobOrigin, { start, end }: ByteRange): boolean {
  const { layout } = download.blob
  const last = layout.indexAt(end)
  if (last === layout.count - 1) return false
  for (let piece = layout.indexAt(start); piece <= last; piece++) if (!download.isFrom(origin, piece)) return false
  return true
}

/** Throws StoreError `SIZE_CONFLICT` when a blob has another size than its origin says. */
export function checkSize({ digest, size }: StoredBlob, claimed: number | undefined): void {
  if (claimed === undefined || claimed === size) return
  throw new StoreError('SIZE_CONFLICT', `blob ${digest} has ${size} bytes here, not ${claimed} as its origin says`)
}
