import { parseDigest } from '@shoal/core'
import { CID } from 'multiformats/cid'
import { create } from 'multiformats/hashes/digest'

/** Multicodec codes. Source: multiformats table.csv. */
const RAW = 0x55
const MULTIHASH: Readonly<Record<string, number>> = { sha256: 0x12, sha512: 0x13 }

/** The content id under which the DHT knows a blob: raw codec, the OCI digest as its multihash. */
export function contentIdOf(digest: string): CID {
  const { algorithm, hex } = parseDigest(digest)
  return CID.createV1(RAW, create(MULTIHASH[algorithm] as number, Buffer.from(hex, 'hex')))
}
