import type { ByteRange } from '@shoal/core'
import type { Appender } from '../driver.ts'

/** What a store says of an object. */
export interface StoredObject {
  readonly sizeBytes: number
  /** Milliseconds since 1970. */
  readonly modifiedAtMs: number
}

/** An object, or the part that keys have in common up to a `/`. */
export interface Listed extends StoredObject {
  readonly key: string
}

/** The bytes of an object, or of a part of it. */
export interface ObjectContent {
  /** Bytes that `body` has. */
  readonly sizeBytes: number
  /** To be read to its end, or left early, which ends the request. */
  readonly body: AsyncIterable<Uint8Array>
  /** Ends the request when `body` is not to be read. */
  discard(): void
}

/** Which keys are listed. */
export interface Listing {
  /** Whether keys that go on after a further `/` are told as one, by what they have in common up to and with it. */
  readonly isFolded: boolean
  /** How many are wanted; all when undefined. */
  readonly limit?: number
}

/**
 * What the driver for object stores needs of one: a bucket, or what the vendor calls it. An object appears whole or not
 * at all, and who asks after that sees it. Errors of the vendor's client go through as they are.
 */
export interface ObjectStore {
  /** undefined when there is no such object. */
  head(key: string): Promise<StoredObject | undefined>
  /** @param range all bytes when undefined; undefined as the result: there is no such object */
  get(key: string, range?: ByteRange): Promise<ObjectContent | undefined>
  put(key: string, content: Uint8Array): Promise<void>
  /** Keys that begin with `prefix`, in no promised order. */
  list(prefix: string, listing: Listing): AsyncIterable<Listed>
  /** Removes an object. No error when there is none. */
  remove(key: string): Promise<void>
  /** Moves an object over what is at `to`. Throws when there is none at `from`. */
  move(from: string, to: string): Promise<void>
  /** As `StorageDriver.append`. */
  append(key: string): Promise<Appender>
  /** As `StorageDriver.presign`; the object need not be there. */
  presign(key: string, seconds: number): Promise<string | undefined>
}
