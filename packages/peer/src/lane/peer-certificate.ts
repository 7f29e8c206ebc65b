import { constants } from 'node:crypto'
import type { SecureContextOptions, TLSSocket } from 'node:tls'
import { LaneError } from './errors.ts'
import { peerIdOfCertificate } from './identity-certificate.ts'

/** A certificate bound to the node's libp2p identity, and its key, both PEM. */
export interface LaneCredentials {
  readonly cert: string
  readonly key: string
}

/** What both ends say in the handshake (ALPN). */
export const LANE_ALPN = ['shoal-lane']

/** AES-128-GCM first: with AES instructions it is the cheapest of the three per byte. */
const CIPHERS = 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384'

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

/**
 * Which libp2p peer, by its id's text form, is at the other end of a TLS connection: the one whose identity its
 * certificate proves, as TLS itself proved that it has the certificate's key. Throws LaneError `handshake` when there is
 * no such proof.
 */
export function peerOf(socket: TLSSocket): string {
  // A resumed session shows the certificate of an earlier connection at best; we offer none, so only a stranger asks.
  const certificate = socket.isSessionReused() ? undefined : socket.getPeerX509Certificate()
  if (certificate === undefined) throw new LaneError('handshake', 'the other end of the lane showed no certificate')
  return peerIdOfCertificate(certificate.raw)
}
