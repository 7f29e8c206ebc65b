import { type DigestAlgorithm, keepToOwner, type Logger, tryParseDigest } from '@shoal/core'
import { StoredBlob } from './blob.ts'
import { type BlobFiles, sizeOfFile } from './files.ts'
import type { IndexDb } from './index-db.ts'
import { readRecords } from './piece-records.ts'

/** What the store asks of the worker threads. */
export interface PieceHasher {
  /** sha256 of the named pieces of a file; a shorter entry where the file ends before the piece does. */
  hashPieces(file: string, size: number, pieces: readonly number[], signal: AbortSignal): Promise<Uint8Array[]>
  /** Digest (hex) of a whole file. Its errors have the system's code in `data.systemCode`. */
  hashBlob(file: string, algorithm: DigestAlgorithm, signal: AbortSignal): Promise<string>
  /**
   * Digest (hex) of a whole file and the sha256 of each of its pieces, in one reading that holds up nobody; rejects when
   * the file has not all of them.
   */
  hashUnhurried(
    file: string,
    size: number,
    algorithm: DigestAlgorithm,
    signal: AbortSignal,
  ): Promise<{ readonly hex: string; readonly pieceMap: Uint8Array }>
}

/** What recovery works with. */
interface RecoveryDependencies {
  readonly index: IndexDb
  readonly files: BlobFiles
  readonly hasher: PieceHasher
  readonly log: Logger
  readonly signal: AbortSignal
}

/**
 * Takes up what an earlier run left: whole blobs whose file is as long as it was, parts whose pieces still have their
 * sha256. What is no more is forgotten, and files of parts that nobody knows are deleted.
 */
export async function recoverBlobs(dependencies: RecoveryDependencies): Promise<Map<string, StoredBlob>> {
  const { index, files, log } = dependencies
  const blobs = new Map<string, StoredBlob>()
  const lost: string[] = []
  for await (const [digest, { size, isComplete, usedAtMs }] of index.blobs()) {
    if (tryParseDigest(digest) === undefined) continue
    if ((await sizeOfFile(files.finalPath(digest))) === size) {
      // A final name is given only to verified bytes, so the record may lag behind the rename by one crash.
      if (!isComplete) await recoverRenamed(digest, size, usedAtMs, dependencies)
      blobs.set(digest, new StoredBlob(digest, size, files.finalPath(digest), true, usedAtMs))
    } else if (!isComplete && (await sizeOfFile(files.partialPath(digest))) === size) {
      const blob = new StoredBlob(digest, size, files.partialPath(digest), false, usedAtMs)
      await recoverPieces(blob, dependencies)
      blobs.set(digest, blob)
    } else {
      lost.push(digest)
    }
  }
  // An earlier release let all users read them.
  for (const { file } of blobs.values()) await keepToOwner(file).catch(() => {})
  for (const digest of lost) {
    log.warn({ digest }, 'a blob of the index is not on disk as it was; it will be fetched again')
    await corrected(index.delete(digest), dependencies)
  }
  await files.removePartials(new Set([...blobs.values()].map((blob) => blob.file)))
  return blobs
}

async function recoverRenamed(digest: string, size: number, usedAtMs: number, dependencies: RecoveryDependencies) {
  const { index, files } = dependencies
  const blob = new StoredBlob(digest, size, files.finalPath(digest), false, usedAtMs)
  for (const [piece, sha256] of readRecords(files.partialPath(digest), blob.layout.count)) {
    blob.addPiece(piece, sha256)
  }
  const record = { size, isComplete: true, usedAtMs }
  const pieceMap = (blob.have.isComplete && blob.pieceDigests) || new Uint8Array(0)
  await corrected(index.complete(digest, record, pieceMap, true), dependencies)
}

async function recoverPieces(blob: StoredBlob, dependencies: RecoveryDependencies): Promise<void> {
  const { hasher, log, signal } = dependencies
  const recorded = readRecords(blob.file, blob.layout.count)
  const pieces = recorded.map(([piece]) => piece)
  const found = await hasher.hashPieces(blob.file, blob.size, pieces, signal)
  for (const [i, [piece, sha256]] of recorded.entries()) {
    if (Buffer.compare(found[i] ?? new Uint8Array(0), sha256) === 0) blob.addPiece(piece, sha256)
  }
  const { held } = blob.have
  log.info({ digest: blob.digest, held, damaged: recorded.length - held }, 'partial blob taken up again')
}

/** A full disk must not keep the node from starting: what the index has wrong is found again next time. */
async function corrected(correction: Promise<void>, { log }: RecoveryDependencies): Promise<void> {
  await correction.catch((error: unknown) => log.warn({ err: error }, 'the index can not be corrected now'))
}
