import { X509Certificate } from 'node:crypto'
import { generateKeyPair } from '@libp2p/crypto/keys'
import { peerIdFromPrivateKey } from '@libp2p/peer-id'
import { generateCertificate, verifyPeerCertificate } from '@libp2p/tls/utils'
import * as fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { LaneError } from '../../../src/lane/errors.ts'
import { createIdentityCertificate, peerIdOfCertificate } from '../../../src/lane/identity-certificate.ts'

const privateKey = await generateKeyPair('Ed25519')
const peerId = peerIdFromPrivateKey(privateKey).toString()
const rawOf = (cert: string): Buffer => new X509Certificate(cert).raw
const ours = rawOf((await createIdentityCertificate(privateKey)).cert)

function refusal(raw: Buffer): string {
  try {
    return `accepted as ${peerIdOfCertificate(raw)}`
  } catch (error) {
    expect(error).toBeInstanceOf(LaneError)
    expect((error as LaneError).code).toBe('handshake')
    return (error as LaneError).message
  }
}

describe('beside the library of libp2p', () => {
  test('it accepts our certificates, and finds the same identity', async () => {
    for (let i = 0; i < 20; i++) {
      const key = await generateKeyPair('Ed25519')
      const { cert } = await createIdentityCertificate(key)
      expect((await verifyPeerCertificate(rawOf(cert))).toString()).toBe(peerIdFromPrivateKey(key).toString())
    }
  })

  test('we accept its certificates, and find the same identity', async () => {
    for (let i = 0; i < 20; i++) {
      const key = await generateKeyPair('Ed25519')
      const { cert } = await generateCertificate(key)
      expect(peerIdOfCertificate(rawOf(cert))).toBe(peerIdFromPrivateKey(key).toString())
    }
  })
})

test('a certificate proves the identity it was made for', () => {
  expect(peerIdOfCertificate(ours)).toBe(peerId)
})

test.each([
  ['two hours behind', -2 / 24],
  ['thirty years behind', -30 * 365],
  ['two hundred years ahead', 200 * 365],
])('a clock that is %s makes no difference, at either end', async (_how, days) => {
  vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + days * 86_400_000 })
  try {
    expect(peerIdOfCertificate(ours)).toBe(peerId)
    const theirs = rawOf((await createIdentityCertificate(privateKey)).cert)
    vi.useRealTimers()
    expect(peerIdOfCertificate(theirs)).toBe(peerId)
    expect((await verifyPeerCertificate(theirs)).toString()).toBe(peerId)
  } finally {
    vi.useRealTimers()
  }
})

test('an identity other than an Ed25519 key is refused', async () => {
  const { cert } = await generateCertificate(await generateKeyPair('secp256k1'))
  expect(refusal(rawOf(cert))).toContain('no Ed25519 key')
})

test("another identity's signature is refused", async () => {
  const stranger = await generateKeyPair('Ed25519')
  const forged = { publicKey: privateKey.publicKey, sign: (bytes: Uint8Array) => stranger.sign(bytes) }
  const { cert } = await createIdentityCertificate(forged)
  expect(refusal(rawOf(cert))).toContain('did not sign')
  await expect(verifyPeerCertificate(rawOf(cert))).rejects.toThrow()
})

test('a proof taken from another certificate is refused', async () => {
  let proof: Uint8Array | undefined
  const recorded = {
    publicKey: privateKey.publicKey,
    sign: async (bytes: Uint8Array) => (proof = await privateKey.sign(bytes)),
  }
  await createIdentityCertificate(recorded)
  const replayed = { publicKey: privateKey.publicKey, sign: () => proof ?? new Uint8Array(64) }
  const { cert } = await createIdentityCertificate(replayed)
  expect(refusal(rawOf(cert))).toContain('did not sign')
})

test('no changed bit leaves a certificate that proves the identity', () => {
  // Every byte is signed, or the signature.
  for (let bit = 0; bit < ours.length * 8; bit++) {
    const changed = Buffer.from(ours)
    changed[bit >> 3] = (changed[bit >> 3] as number) ^ (1 << (bit & 7))
    expect(refusal(changed), `bit ${bit}`).not.toContain('accepted')
  }
})

test('what is no certificate is refused, whatever it is', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 512 }), (bytes) => {
      expect(refusal(Buffer.from(bytes))).not.toContain('accepted')
    }),
  )
  fc.assert(
    fc.property(fc.nat(ours.length - 1), (length) => {
      expect(refusal(ours.subarray(0, length))).not.toContain('accepted')
    }),
  )
  expect(refusal(Buffer.concat([ours, Buffer.alloc(9000)]))).toContain('takes')
})
