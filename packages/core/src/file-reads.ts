import { read, readSync } from 'node:fs'

/** A read that took longer came from a disk, not from memory: half a MiB from the page cache takes a tenth of it. */
const SLOW_MS = 2
/** For a slow read of x ms the thread pool is used for x times this: blocking takes 1 % of the time at the most. */
const REST = 100

/**
 * Reads files on the spot while their bytes come from memory, and through the thread pool while the disk is slow. Most
 * of what a node reads has just been written, and to hand such a read to another thread and be woken by it costs
 * several times what the read does. One for each thread and kind of reading.
 */
export class FileReads {
  readonly #now: () => number
  #pooledUntilMs = Number.NEGATIVE_INFINITY

  /** @param now milliseconds of a clock that does not step back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now
  }

  /**
   * Reads up to `length` bytes at `position` of an open file into `buffer` at `offset`; gives how many there were, at
   * once or as a promise. The file must stay open until then. Throws, or rejects with, the system's error.
   */
  read(fd: number, buffer: Buffer, offset: number, length: number, position: number): number | Promise<number> {
    const beganMs = this.#now()
    if (beganMs < this.#pooledUntilMs) return readPooled(fd, buffer, offset, length, position)
    const bytes = readSync(fd, buffer, offset, length, position)
    const tookMs = this.#now() - beganMs
    if (tookMs > SLOW_MS) this.#pooledUntilMs = beganMs + tookMs * REST
    return bytes
  }
}

/** As `FileReads.read`, always through the thread pool: for bytes that are not needed at once. */
export function readPooled(
  fd: number,
  buffer: Buffer,
  offset: number,
  length: number,
  position: number,
): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, buffer, offset, length, position, (error, bytes) => (error === null ? resolve(bytes) : reject(error)))
  })
}
