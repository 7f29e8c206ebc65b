import { CoreError } from '@shoal/core'
import { type Static, Type } from 'typebox'

const MIB = 1024 ** 2
const GIB = 1024 ** 3

/** Options of the blob store. */
export const storeOptions = Type.Object(
  {
    quotaBytes: Type.Integer({
      minimum: 0,
      default: 0,
      description: 'most bytes of blobs and manifests kept; 0: as many as the file system holds',
    }),
    highWatermark: Type.Number({
      minimum: 0.01,
      maximum: 1,
      default: 0.9,
      description: 'share of quotaBytes above which the blobs longest unused are evicted',
    }),
    lowWatermark: Type.Number({
      minimum: 0,
      maximum: 1,
      default: 0.8,
      description: 'share of what may be kept at which an eviction ends; at most highWatermark',
    }),
    minFreeBytes: Type.Integer({
      minimum: 0,
      default: GIB,
      description: "what stays free on dataDir's file system: below it blobs are evicted and none is begun",
    }),
    manifestBytes: Type.Integer({
      minimum: 0,
      default: 256 * MIB,
      description: 'most bytes of manifests kept, a tenth of quotaBytes at the most, which they count in',
    }),
    scrubDays: Type.Number({
      minimum: 0,
      maximum: 365,
      default: 14,
      description: 'days in which the bytes of each whole blob are checked once, in the background; 0: never',
    }),
    containerdContent: Type.String({
      default: '',
      maxLength: 4096,
      description:
        "folder of containerd's content store, read only, whose blobs are served without a second copy, such as /var/lib/containerd/io.containerd.content.v1.content; empty: off",
    }),
  },
  { additionalProperties: false, default: {} },
)

export type StoreOptions = Static<typeof storeOptions>

/** Throws CoreError `CONFIG_INVALID` for watermarks that are the wrong way round. */
export function checkStoreOptions({ highWatermark, lowWatermark }: StoreOptions): void {
  if (lowWatermark <= highWatermark) return
  throw new CoreError(
    'CONFIG_INVALID',
    `store.lowWatermark (${lowWatermark}) is above store.highWatermark (${highWatermark}): an eviction could never end there; lower it`,
  )
}
