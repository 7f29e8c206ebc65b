import { createHmac, randomBytes } from 'node:crypto'
import { type Logger, unlessAborted, withDeadline } from '@shoal/core'
import type { BlobOrigin } from '../coordinator/events.ts'
import type { StoredBlob } from '../store/blob.ts'
import type { OriginBlobs, OriginSource } from './dependencies.ts'
import { DownloadError } from './errors.ts'
import { Proof, type ProvenBlob } from './proof.ts'

/** How long an origin may take to answer for a part. */
const ANSWER_MS = 20_000
/** An origin that had other bytes is not asked again before this. */
const REFUTED_FOR_MS = 10 * 60_000
const MAX_REFUTED = 10_000
const MAX_OPEN = 1000

/** Which origins were seen to hold which blobs. */
export interface Possessions {
  isProven(where: BlobOrigin, digest: string): boolean
  proven(where: BlobOrigin, digest: string, size: number): void
}

interface ProofsDependencies {
  readonly possessions: Possessions
  readonly origin: Pick<OriginBlobs, 'fetchBlob'>
  readonly log: Logger
  /** Milliseconds of a clock that does not step back. */
  readonly now: () => number
  readonly signal: AbortSignal
  /** Where in a blob origins are asked; left out: what nobody outside of this process can foresee. */
  readonly randomOf?: RandomOf
}

/** Numbers 0 ≤ x < 1 by name: in the same order each time for the same name. */
export type RandomOf = (name: string) => () => number

/**
 * The places of a blob follow from a secret of this process: an origin that knows some of the blob, and fails at one of
 * them, is asked for the same ones next time, under whatever name it comes.
 */
function secretRandom(): RandomOf {
  const secret = randomBytes(32)
  return (name) => {
    let count = 0
    return () => createHmac('sha256', secret).update(`${name} ${count++}`).digest().readUIntBE(0, 6) / 2 ** 48
  }
}

/** For whom bytes that came from elsewhere are: origins are asked once for each blob, and their proofs remembered. */
export class Proofs {
  readonly #dependencies: ProofsDependencies
  readonly #randomOf: RandomOf
  /** Proofs under way. */
  readonly #open = new Map<string, { readonly blob: StoredBlob; readonly proof: Proof }>()
  /** Origins that had other bytes → until when that is remembered; the oldest first. */
  readonly #refuted = new Map<string, number>()

  constructor(dependencies: ProofsDependencies) {
    this.#dependencies = dependencies
    this.#randomOf = dependencies.randomOf ?? secretRandom()
  }

  /**
   * Resolves when clients of the origin may read `piece` of the blob, and all before it, which are held. Rejects with
   * DownloadError `NOT_SHARED` when they must not, with the signal's reason when it aborts.
   */
  async reach(held: ProvenBlob, source: OriginSource, piece: number, signal: AbortSignal): Promise<void> {
    const { possessions } = this.#dependencies
    const { blob } = held
    const { digest, size } = blob
    if (possessions.isProven(source, digest)) return
    const proof = this.#proofOf(held, source)
    try {
      await unlessAborted(proof.reach(piece), signal)
    } catch (error) {
      if (!signal.aborted) this.#failed(held, source, error)
      throw error
    }
    // Until the whole has its digest, what was compared need not have been the blob's bytes.
    if (!proof.isPassed || !blob.isComplete) return
    this.#open.delete(keyOf(source, digest))
    possessions.proven(source, digest, size)
  }

  #proofOf(held: ProvenBlob, source: OriginSource): Proof {
    const { now, origin, signal } = this.#dependencies
    const { blob } = held
    const { digest } = blob
    if ((this.#refuted.get(claimOf(source, digest)) ?? 0) > now()) {
      throw new DownloadError('NOT_SHARED', `${source.registry} had other bytes for ${digest} a short while ago`)
    }
    const key = keyOf(source, digest)
    const open = this.#open.get(key)
    if (open?.blob === blob) return open.proof
    const fetchBlob: OriginBlobs['fetchBlob'] = (call, onChunk) =>
      origin.fetchBlob({ ...call, signal: withDeadline(ANSWER_MS, call.signal) }, onChunk)
    const randomOf: RandomOf = (name) => this.#randomOf(`${digest} ${blob.size} ${name}`)
    const proof = new Proof(held, source, { origin: { fetchBlob }, randomOf, signal })
    this.#open.delete(key)
    setBounded(this.#open, MAX_OPEN, key, { blob, proof })
    return proof
  }

  #failed({ blob: { digest, isComplete } }: ProvenBlob, source: OriginSource, error: unknown): void {
    this.#open.delete(keyOf(source, digest))
    const { log, now } = this.#dependencies
    const { registry, repository } = source
    if (!(error instanceof DownloadError) || error.code !== 'NOT_SHARED' || error.cause !== undefined) return
    // Bytes that nobody has verified yet refute nothing.
    if (!isComplete) return
    log.warn({ registry, repository, digest, err: error }, 'a registry does not have the blob that it claims to have')
    setBounded(this.#refuted, MAX_REFUTED, claimOf(source, digest), now() + REFUTED_FOR_MS)
  }
}

/** Sets an entry as the newest; the oldest goes when there are more than `most`. */
function setBounded<T>(entries: Map<string, T>, most: number, key: string, value: T): void {
  entries.delete(key)
  entries.set(key, value)
  const [oldest] = entries.keys()
  if (entries.size > most && oldest !== undefined) entries.delete(oldest)
}

/** A registry that claims a blob makes no other claim by calling the repository something else. */
function claimOf({ registry }: BlobOrigin, digest: string): string {
  return `${registry}@${digest}`
}

function keyOf({ registry, repository }: BlobOrigin, digest: string): string {
  return `${registry}/${repository}@${digest}`
}
