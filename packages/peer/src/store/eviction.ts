/** A blob as the choice sees it. */
export interface EvictionCandidate {
  readonly digest: string
  /** Bytes that its going makes free: also of a blob in part its whole size, as room is kept for all of it. */
  readonly sizeBytes: number
  /** Last use, milliseconds since 1970. */
  readonly usedAtMs: number
  readonly isInUse: boolean
  /** Whether this node has its bytes elsewhere too. */
  readonly isSpare: boolean
}

/** How much room there is, in bytes. */
export interface StoreSpace {
  /** Free on the file system, less what is promised to blobs in part; below 0 when more is promised than is free. */
  readonly freeBytes: number
  /** 0: none. */
  readonly quotaBytes: number
  readonly minFreeBytes: number
  /** Shares, 0 to 1. */
  readonly highWatermark: number
  readonly lowWatermark: number
}

/** What made an eviction necessary. */
type EvictionReason = 'quota' | 'disk'

/** What to evict. */
export interface EvictionPlan<T extends EvictionCandidate> {
  /** In the order in which they are to go. */
  readonly victims: readonly T[]
  /** Why; undefined when nothing is over a limit. */
  readonly reason: EvictionReason | undefined
  /** Whether what is needed fits once they are gone. */
  readonly hasRoom: boolean
}

/**
 * Which blobs go so that `neededBytes` more fit: none while the high watermark of the quota and the free disk space
 * are respected; else first those that this node has elsewhere too, then those longest unused, until the low watermark
 * of what may be kept is reached. Never one in use.
 * What can not fit even in an empty store makes nothing go.
 */
export function planEviction<T extends EvictionCandidate>(
  blobs: Iterable<T>,
  space: StoreSpace,
  neededBytes: number,
): EvictionPlan<T> {
  const evictable: T[] = []
  let usedBytes = 0
  let inUseBytes = 0
  for (const blob of blobs) {
    usedBytes += blob.sizeBytes
    if (blob.isInUse) inUseBytes += blob.sizeBytes
    else evictable.push(blob)
  }
  const reason = evictionReason(usedBytes, space, neededBytes)
  if (reason === undefined) return { victims: [], reason, hasRoom: true }
  const capacity = Math.min(quotaOf(space), onDisk(usedBytes, space))
  const hasRoom = inUseBytes + neededBytes <= capacity
  if (!hasRoom && neededBytes > 0) return { victims: [], reason, hasRoom }
  const goal = capacity * space.lowWatermark - neededBytes
  const victims: T[] = []
  let left = usedBytes
  for (const blob of evictable.sort(bySpareAndUse)) {
    if (left <= goal) break
    // Empty blobs give nothing back.
    if (blob.sizeBytes === 0) continue
    victims.push(blob)
    left -= blob.sizeBytes
  }
  return { victims, reason, hasRoom }
}

/** Why blobs must go so that `neededBytes` more fit beside `usedBytes`; undefined when none must. */
export function evictionReason(usedBytes: number, space: StoreSpace, neededBytes: number): EvictionReason | undefined {
  const wanted = usedBytes + neededBytes
  if (wanted > onDisk(usedBytes, space)) return 'disk'
  return wanted > quotaOf(space) * space.highWatermark ? 'quota' : undefined
}

/** What the disk has for blobs, bytes. */
function onDisk(usedBytes: number, space: StoreSpace): number {
  return Math.max(0, usedBytes + space.freeBytes - space.minFreeBytes)
}

function quotaOf(space: StoreSpace): number {
  return space.quotaBytes === 0 ? Number.POSITIVE_INFINITY : space.quotaBytes
}

function bySpareAndUse(a: EvictionCandidate, b: EvictionCandidate): number {
  if (a.isSpare !== b.isSpare) return a.isSpare ? -1 : 1
  return a.usedAtMs - b.usedAtMs || (a.digest < b.digest ? -1 : 1)
}
