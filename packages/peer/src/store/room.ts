import type { Logger } from '@shoal/core'
import type { StoredBlob } from './blob.ts'
import type { BlobTable } from './blob-table.ts'
import { StoreError } from './errors.ts'
import { type EvictionCandidate, type EvictionPlan, evictionReason, planEviction, type StoreSpace } from './eviction.ts'
import type { StoreMetrics } from './metrics.ts'
import type { StoreOptions } from './options.ts'

/** What room is made from. */
export interface RoomDependencies {
  readonly blobs: BlobTable
  readonly isInUse: (digest: string) => boolean
  /** Whether this node has the blob's bytes elsewhere too. */
  readonly isSpare: (digest: string) => boolean
  /** Takes a blob out of the store and its bytes off the disk. */
  readonly evict: (blob: StoredBlob) => Promise<void>
  /** Bytes that something else of this node takes of the quota. */
  readonly otherBytes: () => number
  /** Free on the file system. */
  readonly freeBytes: () => number
  readonly metrics: StoreMetrics
  readonly log: Logger
}

interface Candidate extends EvictionCandidate {
  readonly blob: StoredBlob
}

/**
 * Keeps the store within its quota and the disk from filling up. A blob in part counts with its whole size from its
 * first piece on: what it lacks is promised to it, so two downloads never count on the same free bytes. The caller
 * sees to it that one call runs at a time.
 */
export class Room {
  /** Bytes of all blobs that went so far. */
  evictedBytes = 0
  readonly #options: StoreOptions
  readonly #deps: RoomDependencies

  constructor(options: StoreOptions, dependencies: RoomDependencies) {
    this.#options = options
    this.#deps = dependencies
  }

  /** Evicts what is over the limits; returns the bytes that are free again. */
  async tend(): Promise<number> {
    return this.#carryOut(this.#plan(this.#space(), 0))
  }

  /** Sees to it that `bytes` more fit, by eviction if need be. Throws StoreError `NO_SPACE`. */
  async reserve(bytes: number, digest: string): Promise<void> {
    const space = this.#space()
    const plan = this.#plan(space, bytes)
    await this.#carryOut(plan)
    if (plan.hasRoom) return
    this.#deps.metrics.refusals.inc()
    const quota = space.quotaBytes === 0 ? 'no quota' : `a quota of ${space.quotaBytes} bytes`
    throw new StoreError(
      'NO_SPACE',
      `there is no room for ${digest}: it needs ${bytes} bytes more, ${space.freeBytes} are free and not promised, ${space.minFreeBytes} of them to stay free, with ${quota}; raise store.quotaBytes, lower store.minFreeBytes, or free space`,
    )
  }

  /**
   * Evicts at least `bytes` because the system says that the disk is full; returns the bytes that are free again.
   * @param evictedBefore `evictedBytes` before the write that failed: room made since then is enough
   */
  async free(bytes: number, evictedBefore: number): Promise<number> {
    if (this.evictedBytes > evictedBefore) return this.evictedBytes - evictedBefore
    const space = this.#space()
    // Whatever statfs says: users may have quotas, and file systems keep blocks for themselves.
    const freeBytes = Math.min(space.freeBytes, space.minFreeBytes - Math.max(1, bytes))
    return this.#carryOut(this.#plan({ ...space, freeBytes }, 0))
  }

  #space(): StoreSpace {
    const { blobs, freeBytes, otherBytes } = this.#deps
    // A quota of 0 would be none.
    const quotaBytes = this.#options.quotaBytes && Math.max(1, this.#options.quotaBytes - otherBytes())
    return { ...this.#options, quotaBytes, freeBytes: freeBytes() - blobs.promisedBytes }
  }

  #plan(space: StoreSpace, neededBytes: number): EvictionPlan<Candidate> {
    // The sums say so for most new blobs; to look at every blob for each would cost the more the fuller the store.
    const isWithinLimits = evictionReason(this.#deps.blobs.usedBytes, space, neededBytes) === undefined
    if (isWithinLimits) return { victims: [], reason: undefined, hasRoom: true }
    const candidates: Candidate[] = []
    for (const blob of this.#deps.blobs.values()) {
      const { digest, size: sizeBytes, usedAtMs } = blob
      const [isInUse, isSpare] = [this.#deps.isInUse(digest), this.#deps.isSpare(digest)]
      candidates.push({ blob, digest, sizeBytes, usedAtMs, isInUse, isSpare })
    }
    return planEviction(candidates, space, neededBytes)
  }

  async #carryOut({ victims, reason }: EvictionPlan<Candidate>): Promise<number> {
    const { metrics, log } = this.#deps
    let freed = 0
    for (const { blob } of victims) {
      // Somebody may have begun to use it while another one went.
      if (reason === undefined || this.#deps.isInUse(blob.digest)) continue
      try {
        await this.#deps.evict(blob)
      } catch (error) {
        log.error({ digest: blob.digest, err: error }, 'a blob can not be evicted')
        continue
      }
      freed += blob.size
      this.evictedBytes += blob.size
      metrics.evictions.inc({ reason })
      metrics.evictedBytes.inc({ reason }, blob.size)
    }
    if (freed > 0) log.info({ blobs: victims.length, bytes: freed, reason }, 'evicted what was longest unused')
    return freed
  }
}
