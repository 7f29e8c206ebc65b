import type { Logger } from '@shoal/core'
import { LANE_ERROR_CODES, LANE_TROUBLES, type LaneErrorCode } from '../lane/errors.ts'
import type { DownloadMetrics } from './metrics.ts'

/** What is said of a node from which a piece did not come, where that is worth a word. */
const WORDS: Readonly<Partial<Record<LaneErrorCode, string>>> = {
  corrupt: 'a node sent a wrong piece; it is avoided',
  protocol: 'a node broke the lane protocol; it is avoided',
  handshake: 'the lane of a node cannot be used, nor libp2p in its place',
  otherPeer: 'another node answers where the lane of a node should be, and libp2p does not reach it',
  self: 'this node itself answers where the lane of a node should be, and libp2p does not reach it',
}
/** What a node may not do even once: it is left for as long as the download lasts. */
const UNFORGIVEN: ReadonlySet<LaneErrorCode> = new Set(['corrupt', 'protocol'])

/** Whether a node that failed so is not asked for this blob again. */
export function isUnforgiven(code: LaneErrorCode): boolean {
  return UNFORGIVEN.has(code)
}

/** The lane's code of a failed fetch; what is not the lane's is this node's own. */
export function laneCodeOf(error: unknown): LaneErrorCode {
  const code = (error as { code?: unknown } | undefined)?.code
  return LANE_ERROR_CODES.find((known) => known === code) ?? 'local'
}

/** Counts the failures of one download, and says of each node once what is wrong with it. */
export class PieceFailures {
  readonly #digest: string
  readonly #log: Logger
  readonly #metrics: DownloadMetrics
  readonly #said = new Set<string>()

  constructor(digest: string, dependencies: { log: Logger; metrics: DownloadMetrics }) {
    this.#digest = digest
    this.#log = dependencies.log
    this.#metrics = dependencies.metrics
  }

  /** A piece did not come from the node that was asked. */
  add(piece: number, parent: string, code: LaneErrorCode): void {
    this.#metrics.pieceFailures.inc({ reason: code })
    if (code === 'corrupt') this.#metrics.piecesRejected.inc({ reason: code })
    const words = WORDS[code]
    const said = `${code} ${parent}`
    if (words === undefined || this.#said.has(said)) return
    this.#said.add(said)
    this.#log.warn({ digest: this.#digest, piece, parent, reason: code, why: LANE_TROUBLES[code] }, words)
  }
}
