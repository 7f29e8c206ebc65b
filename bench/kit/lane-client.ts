import { createSecureContext, type SecureContext } from 'node:tls'
import { loadOrCreateIdentity } from '@shoal/core/service'
import {
  type ClientContext,
  createCountsMemory,
  createIdentityCertificate,
  LaneError,
  laneSecureOptions,
  PieceFetch,
  type PieceRequest,
  ThreadCounts,
  tlsLinks,
} from '@shoal/peer'

const TIMEOUT_MS = 5000
/** Longer than a round: connections are closed when their measure has ended. */
const NEVER_IDLE_MS = 600_000

/** What lane connections of a node of its own need, whose key is in `identityFile`, or made there. */
export async function laneContext(
  identityFile: string,
  readBuffer: Buffer,
): Promise<{ secureContext: SecureContext; context: ClientContext }> {
  const { privateKey } = await loadOrCreateIdentity(identityFile)
  const secureContext = createSecureContext(laneSecureOptions(await createIdentityCertificate(privateKey)))
  const context = {
    links: tlsLinks(secureContext, readBuffer),
    connectTimeoutMs: TIMEOUT_MS,
    stallTimeoutMs: TIMEOUT_MS,
    idleCloseMs: NEVER_IDLE_MS,
    counts: new ThreadCounts(createCountsMemory(1), 0, 'tls'),
  }
  return { secureContext, context }
}

/** A piece that the lane's client takes in and drops: it drops whatever comes for a piece that has failed before. */
export class DroppedPiece extends PieceFetch {
  readonly dropped: Promise<void>
  readonly #settleDropped: { resolve: () => void; reject: (error: LaneError) => void }

  constructor(request: PieceRequest) {
    super(request, [])
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    this.dropped = promise
    this.#settleDropped = { resolve, reject }
    this.done.catch(() => {})
    super.fail(new LaneError('aborted', 'to be dropped'))
  }

  override accept(bytes: Buffer): void {
    super.accept(bytes)
    if (this.received === this.request.length) this.#settleDropped.resolve()
  }

  override fail(error: LaneError): void {
    this.#settleDropped.reject(error)
  }
}
