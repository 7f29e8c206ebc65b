import { createHash } from 'node:crypto'

const ALPHABET = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'
/** Multihash of the identity of a protobuf that holds an Ed25519 public key. */
const PREFIX = '002408011220'

/** A well-formed libp2p peer id, base58 of an Ed25519 public key, to which nobody has the private key. */
export function peerIdOf(node: number): string {
  let rest = BigInt(`0x${PREFIX}${createHash('sha256').update(`node ${node}`).digest('hex')}`)
  let text = ''
  for (; rest > 0n; rest /= 58n) text = `${ALPHABET[Number(rest % 58n)]}${text}`
  return `1${text}`
}
