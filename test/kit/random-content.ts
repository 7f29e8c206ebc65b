import { createCipheriv, createHash } from 'node:crypto'

const CHUNK_BYTES = 1024 * 1024

/**
 * Bytes that no compressor makes smaller, and the same for the same seed: an AES-128 counter keystream, which costs a
 * fraction of what hashing it does.
 */
export function* randomContent(seed: string, sizeBytes: number): Generator<Buffer> {
  const key = createHash('sha256').update(seed).digest().subarray(0, 16)
  const cipher = createCipheriv('aes-128-ctr', key, Buffer.alloc(16))
  const zeros = Buffer.alloc(CHUNK_BYTES)
  for (let left = sizeBytes; left > 0; left -= CHUNK_BYTES) {
    yield cipher.update(left < CHUNK_BYTES ? zeros.subarray(0, left) : zeros)
  }
}
