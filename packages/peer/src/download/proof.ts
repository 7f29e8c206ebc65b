import { open } from 'node:fs/promises'
import type { ByteRange } from '@shoal/core'
import type { StoredBlob } from '../store/blob.ts'
import { type Checkpoint, chooseCheckpoints, isTelling, partOf } from './checkpoints.ts'
import type { OriginBlobs, OriginSource } from './dependencies.ts'
import { DownloadError } from './errors.ts'

/** Places that are looked at for bytes that nobody can guess. */
const MOST_TRIES = 16

/** What a proof works with. */
export interface ProofDependencies {
  readonly origin: Pick<OriginBlobs, 'fetchBlob'>
  /** Numbers 0 ≤ x < 1, in the same order each time for the same name. */
  readonly randomOf: (name: string) => () => number
  readonly signal: AbortSignal
}

/** Bytes that are held, and where they came from. */
export interface ProvenBlob {
  readonly blob: StoredBlob
  /** Whether the origin itself gave this node the piece. */
  readonly isFromOrigin: (piece: number) => boolean
  /** Resolves when the piece is on disk as it should be; rejects with DownloadError `STORE_FAILED` when it is not. */
  readonly check: (piece: number, signal: AbortSignal) => Promise<void>
}

/**
 * Whether an origin holds a blob whose bytes this node has from elsewhere: it is asked for random parts, with the
 * client's credentials, and they are compared with what is held. A digest is no secret, and a registry may claim to have
 * whatever it likes; its clients get bytes of others only after it has shown that it has them. Source: TRUST.md, 2.
 */
export class Proof {
  readonly #held: ProvenBlob
  readonly #blob: StoredBlob
  readonly #source: OriginSource
  readonly #dependencies: ProofDependencies
  readonly #checkpoints: readonly Checkpoint[]
  readonly #answers = new Map<Checkpoint, Promise<Buffer>>()
  readonly #passing = new Map<Checkpoint, Promise<void>>()
  /** How many checkpoints have been passed, from the first on. */
  #passed = 0

  constructor(held: ProvenBlob, source: OriginSource, dependencies: ProofDependencies) {
    const { blob } = held
    this.#held = held
    this.#blob = blob
    this.#source = source
    this.#dependencies = dependencies
    this.#checkpoints = chooseCheckpoints(blob.layout, dependencies.randomOf('checkpoints'))
  }

  /** Whether the origin was seen to hold every part that was to be compared. */
  get isPassed(): boolean {
    return this.#passed === this.#checkpoints.length
  }

  /**
   * Resolves when clients of the origin may read up to the end of `piece`, which is held. Rejects with DownloadError
   * `NOT_SHARED` when the origin has other bytes, or cannot be asked.
   */
  async reach(piece: number): Promise<void> {
    for (let next = this.#checkpoints[this.#passed]; next !== undefined && next.piece <= piece; ) {
      await this.#pass(next)
      this.#passed = Math.max(this.#passed, this.#checkpoints.indexOf(next) + 1)
      next = this.#checkpoints[this.#passed]
    }
  }

  #pass(checkpoint: Checkpoint): Promise<void> {
    const passing = this.#passing.get(checkpoint) ?? this.#compare(checkpoint)
    this.#passing.set(checkpoint, passing)
    return passing
  }

  async #compare(checkpoint: Checkpoint): Promise<void> {
    const { piece } = checkpoint
    if (this.#held.isFromOrigin(piece)) return
    await this.#held.check(piece, this.#dependencies.signal)
    let { range } = checkpoint
    let held = await this.#read(range)
    let answer: Promise<Buffer> | undefined
    if (isTelling(held, this.#blob.size)) answer = this.#answer(checkpoint)
    else {
      range = await this.#tellingPartOf(piece)
      held = await this.#read(range)
    }
    const said = await (answer ?? this.#ask(range)).catch((cause: unknown) => {
      throw this.#notProven('cannot be asked for parts of it', cause)
    })
    if (!said.equals(held)) throw this.#notProven('sent other bytes')
  }

  /**
   * What the origin has at the checkpoint. The first to ask asks for all that are still to come, and waits for them: once
   * a client has its first byte, nothing more is needed of the origin, which may go away.
   */
  async #answer(wanted: Checkpoint): Promise<Buffer> {
    for (const checkpoint of this.#checkpoints.slice(this.#passed)) {
      if (this.#answers.has(checkpoint) || this.#held.isFromOrigin(checkpoint.piece)) continue
      const asking = this.#ask(checkpoint.range)
      // Who reads that far hears of it.
      asking.catch(() => {})
      this.#answers.set(checkpoint, asking)
    }
    await Promise.allSettled(this.#answers.values())
    return this.#answers.get(wanted) ?? this.#ask(wanted.range)
  }

  async #tellingPartOf(piece: number): Promise<ByteRange> {
    const { layout, size } = this.#blob
    const random = this.#dependencies.randomOf(`piece ${piece}`)
    for (let tries = 0; tries < MOST_TRIES; tries++) {
      const range = partOf(layout, piece, random)
      if (isTelling(await this.#read(range), size)) return range
    }
    throw this.#notProven('could have guessed its bytes')
  }

  async #ask({ start, end }: ByteRange): Promise<Buffer> {
    const { digest, size } = this.#blob
    const { origin, signal } = this.#dependencies
    const chunks: Buffer[] = []
    const call = { ...this.#source, digest, size, start, end, signal }
    await origin.fetchBlob(call, (chunk) => {
      chunks.push(Buffer.from(chunk))
    })
    return Buffer.concat(chunks)
  }

  async #read({ start, end }: ByteRange): Promise<Buffer> {
    const bytes = Buffer.alloc(end - start + 1)
    const file = await this.#openFile()
    try {
      const { bytesRead } = await file.read(bytes, 0, bytes.byteLength, start)
      return bytes.subarray(0, bytesRead)
    } finally {
      await file.close()
    }
  }

  /** The file may be getting its final name just now. */
  async #openFile() {
    const { file, nextFile } = this.#blob
    try {
      return await open(file, 'r').catch((error: unknown) => {
        if (nextFile === undefined) throw error
        return open(nextFile, 'r')
      })
    } catch (cause) {
      throw new DownloadError('STORE_FAILED', `can not read ${this.#blob.digest} back from disk`, { cause })
    }
  }

  #notProven(why: string, cause?: unknown): DownloadError {
    const { registry, repository } = this.#source
    const message = `${registry} was not seen to hold ${this.#blob.digest} in ${repository}: it ${why}`
    return new DownloadError('NOT_SHARED', message, { cause })
  }
}
