import { randomBytes } from 'node:crypto'
import { pureJsCrypto } from '@chainsafe/libp2p-noise'
import { digestOf } from '@shoal/core'
import { expect, it } from 'vitest'
import { ChaCha20Poly1305, digest } from '../../../src/swarm/noise-natives.ts'

const cipher = new ChaCha20Poly1305()
const [key, nonce] = [randomBytes(32), randomBytes(12)]

it.each([
  [0, 0],
  [1, 32],
  [1199, 0],
])('seals %i bytes with %i beside them as noise does, and opens what it sealed', (bytes, beside) => {
  const [text, associated] = [randomBytes(bytes), randomBytes(beside)]
  const sealed = pureJsCrypto.chaCha20Poly1305Encrypt(text, nonce, associated, key).subarray()
  expect(Buffer.from(sealed).equals(cipher.seal(key, nonce, text, associated))).toBe(true)
  expect(cipher.open(key, nonce, sealed, associated)).toEqual(text)
})

it('opens nothing that was changed, cut, or sealed otherwise', () => {
  const associated = randomBytes(32)
  const sealed = Buffer.from(cipher.seal(key, nonce, Buffer.from('a message'), associated))
  for (let at = 0; at < sealed.byteLength; at++) {
    const changed = Buffer.from(sealed)
    changed[at] = (changed[at] as number) ^ 1
    expect(cipher.open(key, nonce, changed, associated)).toBeNull()
    expect(cipher.open(key, nonce, sealed.subarray(0, at), associated)).toBeNull()
  }
  expect(cipher.open(randomBytes(32), nonce, sealed, associated)).toBeNull()
  expect(cipher.open(key, randomBytes(12), sealed, associated)).toBeNull()
  expect(cipher.open(key, nonce, sealed, randomBytes(32))).toBeNull()
})

it('hashes', () => {
  expect(`sha256:${Buffer.from(digest(Buffer.from('shoal'))).toString('hex')}`).toBe(digestOf('shoal'))
})
