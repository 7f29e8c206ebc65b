import { RegistryError } from '../../errors.ts'
import type { Appender } from '../driver.ts'
import { attempt } from './failure.ts'
import { PartBuffer } from './part-buffer.ts'

/** A file of an object store, as it grows by parts. */
export interface PartedFile {
  /** Sends the next part. It is not part of the file yet. */
  put(part: Uint8Array): Promise<void>
  /** Makes what was put, and `rest` after it, part of the file; of a file that is not there, an empty one. */
  finish(rest: Uint8Array): Promise<void>
  /** Forgets what was put since `finish`. */
  drop(): Promise<void>
  /** Makes the file one that can be read and moved. */
  commit(): Promise<void>
}

/** What is known of a file when an appender is made for it. */
export interface PartedFileState {
  readonly sizeBytes: number
  readonly exists: boolean
}

/** Appends to a file of an object store in parts of one size; one is sent while the next one is gathered. */
export class PartAppender implements Appender {
  readonly #file: PartedFile
  readonly #partBytes: number
  #exists: boolean
  /** Bytes that are part of the file. */
  #finished: number
  /** Bytes of parts that were sent, or are being. */
  #put = 0
  #sending: Promise<void> = Promise.resolve()
  #rest: PartBuffer
  #isBroken = false

  constructor(file: PartedFile, { sizeBytes, exists }: PartedFileState, partBytes: number) {
    this.#file = file
    this.#partBytes = partBytes
    this.#exists = exists
    this.#finished = sizeBytes
    this.#rest = new PartBuffer(partBytes)
  }

  get offset(): number {
    return this.#finished + this.#put + this.#rest.bytes
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    if (this.#isBroken) throw new RegistryError('UNAVAILABLE', 'an earlier write to the object store failed')
    await this.#orDrop(async () => {
      for (const chunk of chunks) {
        for (const part of this.#rest.add(chunk)) await this.#send(part)
      }
    })
  }

  async commit(): Promise<void> {
    await this.#finish()
    await attempt(() => this.#file.commit())
  }

  async close(): Promise<void> {
    if (!this.#isBroken) await this.#finish()
  }

  async #send(part: Uint8Array): Promise<void> {
    await this.#sending
    this.#put += part.byteLength
    this.#sending = this.#file.put(part)
    this.#sending.catch(() => {})
  }

  async #finish(): Promise<void> {
    if (this.#exists && this.offset === this.#finished) return
    await this.#orDrop(async () => {
      await this.#sending
      const rest = this.#rest.take()
      this.#put += rest.byteLength
      await this.#file.finish(rest)
    })
    this.#exists = true
    this.#finished += this.#put
    this.#put = 0
  }

  /** Does `work`; when it fails, what is not part of the file is dropped, so that `offset` stays true. */
  async #orDrop(work: () => Promise<void>): Promise<void> {
    try {
      await attempt(work)
    } catch (error) {
      this.#isBroken = true
      this.#put = 0
      this.#rest = new PartBuffer(this.#partBytes)
      await this.#sending.catch(() => {})
      await this.#file.drop().catch(() => {})
      throw error
    }
  }
}
