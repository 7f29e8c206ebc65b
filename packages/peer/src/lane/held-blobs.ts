import { close, open } from 'node:fs'
import { HaveSet, PieceLayout, systemErrorCode } from '@shoal/core'

/** A blob of which this node holds pieces. */
export interface HeldBlob {
  readonly file: string
  /** Its name as soon as it is renamed, which may be at this moment. */
  readonly nextFile?: string | undefined
  /** Bytes of the whole blob. */
  readonly size: number
  /** Bits of a HaveSet; written by the main thread only. */
  readonly have: SharedArrayBuffer
}

/** Asks the main thread for a blob. */
export type LookUp = (digest: string) => Promise<HeldBlob | undefined>

/** A held blob with its file open. */
export interface OpenBlob {
  readonly digest: string
  readonly fd: number
  readonly layout: PieceLayout
  readonly have: HaveSet
}

interface Entry {
  readonly opening: Promise<OpenBlob | undefined>
  users: number
  isForgotten: boolean
}

const MAX_OPEN = 128

/** The blobs a worker thread serves from, files kept open while they are used often; the least recently used go first. */
export class HeldBlobs {
  readonly #lookUp: LookUp
  /** In the order of last use. */
  readonly #entries = new Map<string, Entry>()
  readonly #used = new Map<OpenBlob, Entry>()

  constructor(lookUp: LookUp) {
    this.#lookUp = lookUp
  }

  /**
   * The blob, open until `release`; undefined when none of it is held. Throws the system's error when its file can
   * not be opened.
   */
  async acquire(digest: string): Promise<OpenBlob | undefined> {
    let entry = this.#entries.get(digest)
    if (entry === undefined) {
      entry = { opening: this.#open(digest), users: 0, isForgotten: false }
      this.#shrink()
    } else {
      this.#entries.delete(digest)
    }
    this.#entries.set(digest, entry)
    entry.users++
    try {
      const blob = await entry.opening
      if (blob === undefined) this.#drop(digest, entry)
      else this.#used.set(blob, entry)
      return blob
    } catch (error) {
      this.#drop(digest, entry)
      throw error
    }
  }

  /** Ends one use that `acquire` began. */
  release(blob: OpenBlob): void {
    const entry = this.#used.get(blob)
    if (entry === undefined) return
    entry.users--
    if (entry.users > 0) return
    this.#used.delete(blob)
    if (entry.isForgotten) close(blob.fd)
  }

  /** Looks the blob up anew from now on; its file is closed as soon as nobody reads it. */
  forget(digest: string): void {
    const entry = this.#entries.get(digest)
    if (entry !== undefined) this.#drop(digest, entry)
  }

  #drop(digest: string, entry: Entry): void {
    if (this.#entries.get(digest) === entry) this.#entries.delete(digest)
    if (entry.isForgotten) return
    entry.isForgotten = true
    if (entry.users > 0) return
    void entry.opening.then(
      (blob) => blob !== undefined && close(blob.fd),
      () => {},
    )
  }

  #shrink(): void {
    if (this.#entries.size < MAX_OPEN) return
    for (const [digest, entry] of this.#entries) {
      if (entry.users > 0) continue
      this.#drop(digest, entry)
      return
    }
  }

  async #open(digest: string): Promise<OpenBlob | undefined> {
    for (let attempt = 0; ; attempt++) {
      const held = await this.#lookUp(digest)
      if (held === undefined) return undefined
      try {
        const layout = new PieceLayout(held.size)
        const have = new HaveSet(layout.count, held.have)
        return { digest, fd: await openHeld(held), layout, have }
      } catch (error) {
        // The file may have got its final name, or a copy of it may have gone, between the answer and the open.
        if (attempt > 0 || systemErrorCode(error) !== 'ENOENT') throw error
      }
    }
  }
}

async function openHeld({ file, nextFile }: HeldBlob): Promise<number> {
  try {
    return await openFile(file)
  } catch (error) {
    if (nextFile === undefined || systemErrorCode(error) !== 'ENOENT') throw error
    return openFile(nextFile)
  }
}

function openFile(file: string): Promise<number> {
  return new Promise((resolve, reject) => open(file, 'r', (error, fd) => (error ? reject(error) : resolve(fd))))
}
