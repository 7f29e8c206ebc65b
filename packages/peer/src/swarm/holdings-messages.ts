import { HaveSet, isDigest, isRegistryHost, isRepositoryName, PieceLayout } from '@shoal/core'
import { swarm } from '@shoal/proto'
import type { Holdings, Wanted } from './holders.ts'

/** The largest question: digest, registry and repository at their longest, and what may be added to it one day. */
export const MAX_QUESTION_BYTES = 1024
/** Of larger blobs (256 GiB) nodes do not tell each other. */
const MAX_PIECES = 16_384
const SHA256_BYTES = 32
const MAX_HOST_CHARACTERS = 255
/** The largest answer. */
export const MAX_ANSWER_BYTES = MAX_PIECES * SHA256_BYTES + MAX_PIECES / 8 + 1024
const PEER_ID = /^[A-Za-z0-9]{1,128}$/
const HOST = /^[A-Za-z0-9][A-Za-z0-9.:_-]*$/

/** What a node asks another about a blob. */
export interface HoldingsQuestion {
  readonly digest: string
  readonly wanted?: Wanted
}

/** An answer: what the node holds, and where its lane is; an empty host is the one it is connected from. */
export interface HoldingsAnswer {
  readonly holdings: Holdings
  readonly host: string
  readonly port: number
}

export function encodeQuestion({ digest, wanted }: HoldingsQuestion): Uint8Array {
  return swarm.HoldingsRequest.encode({ digest, wanted: wanted === undefined ? undefined : { ...wanted } }).finish()
}

/** The question in bytes off the wire; undefined when they are none. */
export function parseQuestion(bytes: Uint8Array): HoldingsQuestion | undefined {
  if (bytes.byteLength > MAX_QUESTION_BYTES) return undefined
  const message = tryDecode(() => swarm.HoldingsRequest.decode(bytes))
  if (message === undefined || !isDigest(message.digest)) return undefined
  const { digest, wanted } = message
  if (wanted === undefined) return { digest }
  const { size, registry, repository, firstPiece } = wanted
  const layout = layoutOf(size)
  if (layout === undefined || firstPiece >= layout.count) return undefined
  if (!isRegistryHost(registry) || !isRepositoryName(repository)) return undefined
  return { digest, wanted: { size, registry, repository, firstPiece } }
}

/** @param answer undefined: this node has nothing to do with the blob, or can not tell of it */
export function encodeAnswer(answer: HoldingsAnswer | undefined): Uint8Array {
  const layout = layoutOf(answer?.holdings.size ?? 0)
  if (answer === undefined || layout === undefined) return new Uint8Array(0)
  const { holdings, host, port } = answer
  const sha256s = Buffer.alloc(holdings.have.held * SHA256_BYTES)
  let at = 0
  for (let piece = 0; piece < layout.count; piece++) {
    if (!holdings.have.has(piece)) continue
    sha256s.set(holdings.sha256s.subarray(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES), at)
    at += SHA256_BYTES
  }
  return swarm.HoldingsResponse.encode({
    size: holdings.size,
    have: Buffer.from(holdings.have.toBytes()),
    sha256s,
    isFetching: holdings.isFetching,
    isDownloading: holdings.isDownloading,
    laneHost: host,
    lanePort: port,
    fetcher: holdings.fetcher ?? '',
  }).finish()
}

/** The answer about a blob of `size` bytes in bytes off the wire; undefined when there is nothing, or it makes no sense. */
export function parseAnswer(bytes: Uint8Array, size: number): HoldingsAnswer | undefined {
  if (bytes.byteLength > MAX_ANSWER_BYTES) return undefined
  const message = tryDecode(() => swarm.HoldingsResponse.decode(bytes))
  const layout = layoutOf(size)
  if (message === undefined || layout === undefined || message.size !== size) return undefined
  const { laneHost: host, lanePort: port, isFetching, isDownloading, fetcher } = message
  if (fetcher !== '' && !PEER_ID.test(fetcher)) return undefined
  if (host.length > MAX_HOST_CHARACTERS || (host !== '' && !HOST.test(host)) || port < 1 || port > 65_535)
    return undefined
  const have = HaveSet.fromBytes(message.have, layout.count)
  if (have === undefined || message.sha256s.byteLength !== have.held * SHA256_BYTES) return undefined
  const sha256s = new Uint8Array(layout.count * SHA256_BYTES)
  let at = 0
  for (let piece = 0; piece < layout.count; piece++) {
    if (!have.has(piece)) continue
    sha256s.set(message.sha256s.subarray(at, at + SHA256_BYTES), piece * SHA256_BYTES)
    at += SHA256_BYTES
  }
  const holdings = { size, have, sha256s, isFetching, isDownloading, ...(fetcher === '' ? {} : { fetcher }) }
  return { holdings, host, port }
}

/** How a blob of this size is cut; undefined for one of which nodes do not tell each other. */
function layoutOf(size: number): PieceLayout | undefined {
  if (!Number.isSafeInteger(size) || size <= 0) return undefined
  const layout = new PieceLayout(size)
  return layout.count <= MAX_PIECES ? layout : undefined
}

function tryDecode<T>(decode: () => T): T | undefined {
  try {
    return decode()
  } catch {
    return undefined
  }
}
