import { CoreError } from '@shoal/core'
import { type Static, Type } from 'typebox'

const KIB = 1024
const MIB = 1024 * KIB

/**
 * The lowest limit there may be, bytes a second. Two deadlines of others set it: a parent waits 30 s for a reader to
 * take 512 KiB, and the kernel's buffers make room in steps of up to some 400 KiB; 64 KiB/s, all for one transfer
 * (transfersUnder), needs 8 s for the one and 6 s for the other.
 */
export const LOWEST_LIMIT = 64 * KIB
const HIGHEST_LIMIT = 1024 * 1024 * MIB

/** What each transfer under a limit is to have, so that its piece comes before others lose patience. */
const TRANSFER_BYTES_PER_SECOND = MIB

const limit = (what: string) =>
  Type.Integer({
    minimum: 0,
    maximum: HIGHEST_LIMIT,
    default: 0,
    description: `most bytes a second ${what}; 0: no limit, else at least ${LOWEST_LIMIT}`,
  })

/** Options of the rate limits, each for the whole node. */
export const limitsOptions = Type.Object(
  {
    uploadBytesPerSecond: limit('sent to other nodes'),
    downloadBytesPerSecond: limit('received from other nodes'),
    originBytesPerSecond: limit('of blobs fetched from origins'),
  },
  { additionalProperties: false, default: {} },
)

/** The rate limits of a node, bytes a second; 0: none. */
export type Limits = Readonly<Static<typeof limitsOptions>>

export const NO_LIMITS: Limits = { uploadBytesPerSecond: 0, downloadBytesPerSecond: 0, originBytesPerSecond: 0 }

/** Throws CoreError `CONFIG_INVALID` for a limit so low that transfers would run into the deadlines of others. */
export function checkLimits(limits: Limits): void {
  for (const [name, bytesPerSecond] of Object.entries(limits)) {
    if (bytesPerSecond === 0 || bytesPerSecond >= LOWEST_LIMIT) continue
    throw new CoreError(
      'CONFIG_INVALID',
      `limits.${name} (${bytesPerSecond}) is too low: other nodes would take this one for broken; give at least ${LOWEST_LIMIT}, or 0 for no limit`,
    )
  }
}

/**
 * How many transfers may share a limit at once. Few that each go on are better than many that all crawl: nobody can
 * use a piece before it is whole, and who waits too long for one asks elsewhere, or the origin.
 */
export function transfersUnder(bytesPerSecond: number): number {
  if (bytesPerSecond === 0) return Number.POSITIVE_INFINITY
  return Math.max(1, Math.floor(bytesPerSecond / TRANSFER_BYTES_PER_SECOND))
}
