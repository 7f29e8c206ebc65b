import { stat } from 'node:fs/promises'
import { type DigestAlgorithm, type Logger, parseDigest, ShoalError, systemErrorCode } from '@shoal/core'
import type { StoredBlob } from './blob.ts'
import type { NamedFile } from './files.ts'
import type { StoreMetrics } from './metrics.ts'
import type { Unpin } from './pins.ts'
import type { PieceHasher } from './recovery.ts'

/** How far a scrub is, and what it found. */
export interface ScrubCounts {
  /** Whole blobs that the index had when the scrub began. */
  readonly blobs: number
  /** Files hashed, whatever came out. */
  readonly checked: number
  readonly checkedBytes: number
  /** Blobs whose bytes were wrong or gone; discarded. */
  readonly damaged: number
  /** Whole blobs that the index did not know; taken up. */
  readonly adopted: number
  /** Files that the index did not know, and that were not the blob of their name; deleted. */
  readonly removed: number
  /** Files that could not be read now; left as they are. */
  readonly unreadable: number
}

/** What a scrub works on. */
interface ScrubTarget {
  readonly blobs: () => readonly StoredBlob[]
  readonly pin: (digest: string) => Unpin
  /** Whether the store still has this blob. */
  readonly isHeld: (blob: StoredBlob) => boolean
  readonly isKnown: (digest: string) => boolean
  readonly named: () => AsyncIterable<NamedFile>
  readonly hasher: PieceHasher
  readonly dropDamaged: (blob: StoredBlob) => Promise<void>
  /** False when the file went, or became known, meanwhile. */
  readonly adopt: (file: NamedFile, size: number, pieceMap: Uint8Array, usedAtMs: number) => Promise<boolean>
  readonly dropUnknown: (file: NamedFile) => Promise<boolean>
  readonly metrics: StoreMetrics
  readonly log: Logger
}

type Counts = { -readonly [Key in keyof ScrubCounts]: number }
/** `right`: the bytes are those of the digest; `wrong`: they are not, or are gone; `unreadable`: this can not be said. */
type Verdict = 'right' | 'wrong' | 'unreadable'

const DAMAGED = 'a blob on disk is damaged; discarded, it will be fetched again'
/** A disk that can not give the bytes back (EIO) has lost them. */
const LOST: ReadonlySet<unknown> = new Set(['ENOENT', 'EIO', 'EISDIR'])

/** One scrub: the blobs that are known, then the files that are not. One file at a time. */
export async function scrub(
  target: ScrubTarget,
  signal: AbortSignal,
  report: (counts: ScrubCounts) => void,
): Promise<ScrubCounts> {
  const blobs = target.blobs()
  const counts: Counts = {
    blobs: blobs.length,
    checked: 0,
    checkedBytes: 0,
    damaged: 0,
    adopted: 0,
    removed: 0,
    unreadable: 0,
  }
  report({ ...counts })
  for (const blob of blobs) {
    signal.throwIfAborted()
    // Evicted since the scrub began.
    if (!target.isHeld(blob)) continue
    await scrubBlob(target, blob, counts, signal)
    report({ ...counts })
  }
  for await (const file of target.named()) {
    signal.throwIfAborted()
    if (target.isKnown(file.digest)) continue
    await scrubUnknown(target, file, counts, signal)
    report({ ...counts })
  }
  return counts
}

/**
 * Checks one whole blob, at a pace that holds up nobody, and drops it when it is damaged. Throws what hashing throws when
 * `signal` aborts.
 */
export async function scrubOne(
  target: Omit<ScrubTarget, 'blobs' | 'named' | 'isKnown' | 'adopt' | 'dropUnknown'>,
  blob: StoredBlob,
  signal: AbortSignal,
): Promise<Verdict> {
  if (!target.isHeld(blob)) return 'unreadable'
  const unpin = target.pin(blob.digest)
  try {
    const entry = await stat(blob.file).catch(() => undefined)
    const verdict =
      entry?.size !== blob.size
        ? 'wrong'
        : await judge(target, blob.digest, signal, async (algorithm) => {
            return (await target.hasher.hashUnhurried(blob.file, blob.size, algorithm, signal)).hex
          })
    target.metrics.scrubbed.inc({ result: verdict === 'wrong' ? 'damaged' : verdict })
    if (verdict !== 'wrong') return verdict
    target.log.error({ digest: blob.digest }, DAMAGED)
    await target.dropDamaged(blob)
    return verdict
  } finally {
    unpin()
  }
}

async function scrubBlob(target: ScrubTarget, blob: StoredBlob, counts: Counts, signal: AbortSignal): Promise<void> {
  const unpin = target.pin(blob.digest)
  try {
    const verdict = await judge(target, blob.digest, signal, (algorithm) =>
      target.hasher.hashBlob(blob.file, algorithm, signal),
    )
    counts.checked++
    counts.checkedBytes += blob.size
    if (verdict === 'right') {
      target.metrics.scrubbed.inc({ result: 'right' })
    } else if (verdict === 'unreadable') {
      counts.unreadable++
      target.metrics.scrubbed.inc({ result: 'unreadable' })
    } else {
      counts.damaged++
      target.metrics.scrubbed.inc({ result: 'damaged' })
      target.log.error({ digest: blob.digest }, DAMAGED)
      await target.dropDamaged(blob)
    }
  } finally {
    unpin()
  }
}

async function scrubUnknown(target: ScrubTarget, file: NamedFile, counts: Counts, signal: AbortSignal): Promise<void> {
  const { digest } = file
  const entry = await stat(file.file).catch(() => undefined)
  if (entry === undefined) return
  let pieceMap = new Uint8Array(0)
  const verdict = await judge(target, digest, signal, async (algorithm) => {
    const hashes = await target.hasher.hashUnhurried(file.file, entry.size, algorithm, signal)
    pieceMap = new Uint8Array(hashes.pieceMap)
    return hashes.hex
  })
  counts.checked++
  counts.checkedBytes += entry.size
  if (verdict === 'unreadable') {
    counts.unreadable++
    target.metrics.scrubbed.inc({ result: 'unreadable' })
  } else if (verdict === 'wrong') {
    if (!(await target.dropUnknown(file))) return
    counts.removed++
    target.metrics.scrubbed.inc({ result: 'removed' })
    target.log.warn({ digest }, 'a file that the index does not know was not the blob of its name; deleted')
  } else {
    if (!(await target.adopt(file, entry.size, pieceMap, entry.mtimeMs))) return
    counts.adopted++
    target.metrics.scrubbed.inc({ result: 'adopted' })
    target.log.info({ digest }, 'a whole blob that the index did not know was taken up')
  }
}

async function judge(
  { log }: Pick<ScrubTarget, 'log'>,
  digest: string,
  signal: AbortSignal,
  hash: (algorithm: DigestAlgorithm) => Promise<string>,
): Promise<Verdict> {
  const { algorithm, hex } = parseDigest(digest)
  try {
    return (await hash(algorithm)) === hex ? 'right' : 'wrong'
  } catch (error) {
    if (signal.aborted) throw error
    // Out of a worker thread the system's code comes as data.
    const code = error instanceof ShoalError ? error.data.systemCode : systemErrorCode(error)
    if (LOST.has(code)) return 'wrong'
    log.warn({ digest, err: error }, 'a blob can not be checked now')
    return 'unreadable'
  }
}
