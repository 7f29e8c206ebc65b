/**
 * What takes the place of two WebAssembly packages, `@chainsafe/as-chacha20poly1305` and `@chainsafe/as-sha256`, in the
 * bundle (`packages/cli/bundle.ts`). Noise has them for messages below 1200 bytes, and a node sends few of them; their
 * instances, and what V8 needs to run them, take 3.5 MiB.
 */
import { createCipheriv, createDecipheriv, createHash } from 'node:crypto'

const ALGORITHM = 'chacha20-poly1305'
const TAG = { authTagLength: 16 } as const

/** The sha256 of `data`. */
export function digest(data: Uint8Array): Uint8Array {
  return createHash('sha256').update(data).digest()
}

/** The WebAssembly that a `ChaCha20Poly1305` would work on: none. */
export function newInstance(): undefined {
  return undefined
}

/** ChaCha20-Poly1305 of RFC 8439: keys of 32 bytes, nonces of 12, a tag of 16 behind what is sealed. */
export class ChaCha20Poly1305 {
  seal(key: Uint8Array, nonce: Uint8Array, plaintext: Uint8Array, associatedData: Uint8Array): Uint8Array {
    const cipher = createCipheriv(ALGORITHM, key, nonce, TAG)
    cipher.setAAD(associatedData, { plaintextLength: plaintext.byteLength })
    return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
  }

  /** null when it was not sealed with the same key, nonce and associated data. */
  open(key: Uint8Array, nonce: Uint8Array, sealed: Uint8Array, associatedData: Uint8Array): Uint8Array | null {
    const length = sealed.byteLength - TAG.authTagLength
    if (length < 0) return null
    const decipher = createDecipheriv(ALGORITHM, key, nonce, TAG)
    decipher.setAAD(associatedData, { plaintextLength: length })
    decipher.setAuthTag(sealed.subarray(length))
    try {
      return Buffer.concat([decipher.update(sealed.subarray(0, length)), decipher.final()])
    } catch {
      return null
    }
  }
}
