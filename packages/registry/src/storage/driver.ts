import type { ByteRange } from '@shoal/core'

/** What is stored at a path. */
export interface StoredStat {
  readonly isFolder: boolean
  /** 0 for a folder. */
  readonly sizeBytes: number
  /** Milliseconds since 1970. */
  readonly modifiedAtMs: number
  /** When anything of a file was last changed, which nobody can set back; undefined where the storage does not say. */
  readonly changedAtMs?: number | undefined
}

/** A stored file, opened for reading. Whoever opens it closes it. */
export interface StoredFile {
  readonly sizeBytes: number
  /** As `StoredStat` has it, when it was opened. */
  readonly changedAtMs?: number | undefined
  /**
   * The bytes of `range`, in order. A chunk is valid until the next one is asked for: its buffer is then used again.
   * One iteration at a time. Throws when the file turns out shorter.
   */
  chunks(range: ByteRange): AsyncIterable<Uint8Array>
  close(): Promise<void>
}

/** A file that grows at its end. One appender per file at a time; whoever opens it closes it. */
export interface Appender {
  /** Bytes in the file. True after a failed `write` too, which may have written a part. */
  readonly offset: number
  write(chunks: readonly Uint8Array[]): Promise<void>
  /** Forces what was written to disk. */
  commit(): Promise<void>
  close(): Promise<void>
}

/**
 * Where the registry keeps its files. Paths are relative, with `/`, and made by `paths.ts` from checked parts.
 * Folders come with the first file in them. Every driver passes `test/unit/storage/driver-compliance.ts`.
 */
export interface StorageDriver {
  /** undefined when there is nothing. */
  stat(path: string): Promise<StoredStat | undefined>
  /** A small file whole; undefined when there is none. Throws when it is larger than `maxBytes`. */
  read(path: string, maxBytes: number): Promise<Uint8Array | undefined>
  /** Puts a small file so that a reader, or a crash, sees the old content or the new; durable when it returns. */
  write(path: string, content: Uint8Array | string): Promise<void>
  /** undefined when there is no such file. */
  open(path: string): Promise<StoredFile | undefined>
  /** Makes the file when there is none. */
  append(path: string): Promise<Appender>
  /** Moves a file over what is at `to`; durable when it returns. Throws when there is nothing at `from`. */
  move(from: string, to: string): Promise<void>
  /** Names directly under a folder, in ASCII order; none when there is no such folder. */
  list(path: string): Promise<string[]>
  /** Removes a file, or a folder and all in it. No error when there is nothing. */
  remove(path: string): Promise<void>
  /** A URL by which anybody can read a file for `seconds`; undefined when there is none. Not all storages give such. */
  presign?(path: string, seconds: number): Promise<string | undefined>
}
