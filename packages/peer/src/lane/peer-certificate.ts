import { constants } from 'node:crypto'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import { LaneError } from './errors.ts'

/** A certificate bound to the node's libp2p identity, and its key, both PEM. */
export interface LaneCredentials {
  readonly cert: string
  readonly key: string
}

/** What both ends say in the handshake (ALPN). */
export const LANE_ALPN = ['shoal-lane']

/** AES-128-GCM first: with AES instructions it is the cheapest of the three per byte. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384'
const KNOWN_CERTIFICATES = 1024

/** TLS 1.3 and nothing older, no session tickets: a resumed session would show no certificate. */
export function laneSecureOptions(credentials: LaneCredentials): SecureContextOptions {
  return {
    ...credentials,
    ciphers: CIPHERS,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    secureOptions: constants.SSL_OP_NO_TICKET,
  }
}

/** The peer id, text form, that a certificate (DER) proves; rejects when it proves none. */
export type CertificateCheck = (certificate: Uint8Array) => Promise<string>

/**
 * Finds out which libp2p peer is at the other end of a TLS connection (libp2p specs, tls/tls.md: a self-signed
 * certificate carries the peer's public key and its signature over the certificate's key; TLS itself proved that the
 * peer has the certificate's key). Certificates found good are remembered: a check takes some 4 ms, and a node makes
 * its certificate once.
 */
export class PeerVerifier {
  readonly #check: CertificateCheck
  readonly #peers = new Map<string, string>()

  constructor(check: CertificateCheck) {
    this.#check = check
  }

  /** The peer's id, text form. Throws LaneError `protocol` when the certificate proves none. */
  async peerOf(socket: TLSSocket): Promise<string> {
    // A resumed session shows the certificate of an earlier connection at best; we offer none, so only a stranger asks.
    const certificate = socket.isSessionReused() ? undefined : socket.getPeerX509Certificate()
    if (certificate === undefined) throw new LaneError('protocol', 'the other end of the lane showed no certificate')
    const known = this.#peers.get(certificate.fingerprint512)
    if (known !== undefined) return known
    let peer: string
    try {
      peer = await this.#check(certificate.raw)
    } catch (cause) {
      throw new LaneError('protocol', 'the certificate at the other end of the lane proves no libp2p identity', {
        cause,
      })
    }
    if (this.#peers.size >= KNOWN_CERTIFICATES) {
      for (const oldest of this.#peers.keys()) {
        this.#peers.delete(oldest)
        break
      }
    }
    this.#peers.set(certificate.fingerprint512, peer)
    return peer
  }
}
