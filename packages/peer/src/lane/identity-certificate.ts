import { createPublicKey, generateKeyPairSync, randomBytes, sign, verify, X509Certificate } from 'node:crypto'
import { base58btc } from 'multiformats/bases/base58'
import { DerReader, der, TAG } from './der.ts'
import { LaneError } from './errors.ts'
import type { LaneCredentials } from './peer-certificate.ts'

/*
 * Certificates of the libp2p TLS specification (libp2p/specs, tls/tls.md), for Ed25519 identities, the only ones that
 * Shoal makes: self-signed with a key of their own, and in an extension the identity's public key with its signature
 * over the certificate's key. Written here because the library that does it for any key (@libp2p/tls, on @peculiar/x509)
 * takes 9 MiB of each process and 40 of each worker thread; it is the oracle of our tests.
 */

/** The identity a certificate is made for. */
export interface SigningIdentity {
  readonly publicKey: { readonly raw: Uint8Array }
  sign(bytes: Uint8Array): Promise<Uint8Array> | Uint8Array
}

const OID = {
  /** 1.3.6.1.4.1.53594.1.1, libp2p's extension. */
  libp2p: Buffer.from('2b0601040183a25a0101', 'hex'),
  /** 1.2.840.10045.4.3.2, ecdsa-with-SHA256. */
  ecdsaSha256: Buffer.from('2a8648ce3d040302', 'hex'),
}
const SIGNED_PREFIX = Buffer.from('libp2p-tls-handshake:')
/** Protobuf of a public key: type Ed25519, 32 bytes of data. */
const ED25519_PROTOBUF = Buffer.from('08011220', 'hex')
const ED25519_BYTES = 32
/** Multihash `identity` of 36 bytes, which a peer id puts before that protobuf (libp2p/specs, peer-ids). */
const IDENTITY_MULTIHASH = Buffer.from('0024', 'hex')
/** Bounds the work on what a stranger shows; ours take some 400 bytes. */
const MAX_CERTIFICATE_BYTES = 8192
/**
 * From 1970 until the date that stands for no end (RFC 5280 §4.1.2.5): the certificate ends with its process, which makes
 * a new one each time. A period would only keep out nodes whose clocks are wrong: nobody but the node itself vouches for
 * the key, so whoever has it can make a certificate for any time.
 */
const NOT_BEFORE = der(TAG.utcTime, Buffer.from('700101000000Z'))
const NOT_AFTER = der(TAG.generalizedTime, Buffer.from('99991231235959Z'))

/** Makes a certificate that proves `identity`, with a key made for it. */
export async function createIdentityCertificate(identity: SigningIdentity): Promise<LaneCredentials> {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  const spki = publicKey.export({ type: 'spki', format: 'der' })
  const proof = der(
    TAG.sequence,
    der(TAG.octetString, ED25519_PROTOBUF, identity.publicKey.raw),
    der(TAG.octetString, await identity.sign(Buffer.concat([SIGNED_PREFIX, spki]))),
  )
  const isCritical = der(TAG.boolean, Buffer.from([0xff]))
  const extension = der(TAG.sequence, der(TAG.oid, OID.libp2p), isCritical, der(TAG.octetString, proof))
  const algorithm = der(TAG.sequence, der(TAG.oid, OID.ecdsaSha256))
  const noName = der(TAG.sequence)
  const toBeSigned = der(
    TAG.sequence,
    der(TAG.context0, der(TAG.integer, Buffer.from([2]))),
    der(TAG.integer, Buffer.from([1]), randomBytes(8)),
    algorithm,
    noName,
    der(TAG.sequence, NOT_BEFORE, NOT_AFTER),
    noName,
    spki,
    der(TAG.context3, der(TAG.sequence, extension)),
  )
  const signature = der(TAG.bitString, Buffer.from([0]), sign('sha256', toBeSigned, privateKey))
  const certificate = new X509Certificate(der(TAG.sequence, toBeSigned, algorithm, signature))
  return { cert: certificate.toString(), key: privateKey.export({ type: 'pkcs8', format: 'pem' }) }
}

/**
 * The peer id, text form, that a certificate (DER) proves. Throws LaneError `handshake` when it proves none: it is
 * malformed, not signed with its own key, or the identity's signature is missing or wrong. Its period of validity is not
 * looked at, though the specification asks for that: see NOT_BEFORE.
 */
export function peerIdOfCertificate(raw: Buffer): string {
  if (raw.length > MAX_CERTIFICATE_BYTES) throw refused(`it takes ${raw.length} bytes`)
  let certificate: X509Certificate
  try {
    certificate = new X509Certificate(raw)
  } catch {
    throw refused('it is malformed')
  }
  if (!certificate.checkIssued(certificate) || !certificate.verify(certificate.publicKey)) {
    throw refused('it is not signed with its own key')
  }
  const { spki, proof } = partsOf(raw)
  const pair = new DerReader(proof)
  const sequence = new DerReader(pair.read(TAG.sequence))
  pair.end()
  const publicKey = sequence.read(TAG.octetString)
  const signature = sequence.read(TAG.octetString)
  sequence.end()
  const isEd25519 = publicKey.length === ED25519_PROTOBUF.length + ED25519_BYTES
  if (!isEd25519 || !publicKey.subarray(0, ED25519_PROTOBUF.length).equals(ED25519_PROTOBUF)) {
    throw refused('its identity is no Ed25519 key')
  }
  const x = publicKey.subarray(ED25519_PROTOBUF.length).toString('base64url')
  const key = createPublicKey({ key: { kty: 'OKP', crv: 'Ed25519', x }, format: 'jwk' })
  if (!verify(null, Buffer.concat([SIGNED_PREFIX, spki]), key, signature)) {
    throw refused('its identity did not sign its key')
  }
  return base58btc.baseEncode(Buffer.concat([IDENTITY_MULTIHASH, publicKey]))
}

/** The subject's public key as it stands in the certificate, and the contents of libp2p's extension. */
function partsOf(raw: Buffer): { spki: Buffer; proof: Buffer } {
  const certificate = new DerReader(new DerReader(raw).read(TAG.sequence))
  const fields = new DerReader(certificate.read(TAG.sequence))
  fields.read(TAG.context0)
  fields.read(TAG.integer)
  // Algorithm, issuer, validity, subject.
  for (let skipped = 0; skipped < 4; skipped++) fields.read(TAG.sequence)
  const spki = fields.readWhole(TAG.sequence)
  if (fields.nextTag !== TAG.context3) throw refused('it has no extensions')
  const extensions = new DerReader(new DerReader(fields.read(TAG.context3)).read(TAG.sequence))
  while (!extensions.isAtEnd) {
    const extension = new DerReader(extensions.read(TAG.sequence))
    const isOurs = extension.read(TAG.oid).equals(OID.libp2p)
    if (extension.nextTag === TAG.boolean) extension.read(TAG.boolean)
    const proof = extension.read(TAG.octetString)
    if (isOurs) return { spki, proof }
  }
  throw refused("it lacks libp2p's extension")
}

function refused(why: string): LaneError {
  return new LaneError('handshake', `the certificate at the other end of the lane proves no libp2p identity: ${why}`)
}
