import { SharedBucket } from '@shoal/core'
import type { Limits } from './options.ts'

const BUCKETS = 3

/** Shared memory of the token buckets of a node, to hand to worker threads. */
export type LimitsMemory = SharedArrayBuffer

export function createLimitsMemory(): LimitsMemory {
  return new SharedArrayBuffer(BUCKETS * BigInt64Array.BYTES_PER_ELEMENT)
}

/** The node's limits as one thread has them: none until `apply`. */
export class ThreadLimits {
  readonly upload: SharedBucket
  readonly download: SharedBucket
  readonly origin: SharedBucket

  constructor(memory: LimitsMemory) {
    const cells = new BigInt64Array(memory)
    this.upload = new SharedBucket({ cells, index: 0 })
    this.download = new SharedBucket({ cells, index: 1 })
    this.origin = new SharedBucket({ cells, index: 2 })
  }

  /** Has these limits in this thread from now on, also for transfers under way. */
  apply(limits: Limits): void {
    this.upload.limitTo(limits.uploadBytesPerSecond)
    this.download.limitTo(limits.downloadBytesPerSecond)
    this.origin.limitTo(limits.originBytesPerSecond)
  }
}
