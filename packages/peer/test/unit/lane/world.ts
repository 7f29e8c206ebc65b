import { createHash } from 'node:crypto'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { HaveSet, PieceLayout } from '@shoal/core'
import { type Identity, loadOrCreateIdentity } from '@shoal/core/service'
import type { HeldBlob } from '../../../src/lane/held-blobs.ts'
import { createIdentityCertificate } from '../../../src/lane/identity-certificate.ts'
import type { LaneCredentials } from '../../../src/lane/peer-certificate.ts'
import type { LaneParent, PieceRequest } from '../../../src/lane/piece-fetch.ts'

/** A folder of a test file's own. */
export async function temporaryFolder(): Promise<{ path: string; remove: () => Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), 'shoal-lane-'))
  return { path, remove: () => rm(path, { recursive: true, force: true }) }
}

export async function newNode(folder: string, name: string): Promise<Identity & { credentials: LaneCredentials }> {
  const identity = await loadOrCreateIdentity(join(folder, `${name}.key`))
  return { ...identity, credentials: await createIdentityCertificate(identity.privateKey) }
}

/** A blob of pseudo-random bytes in a file, all of it held. */
export class TestBlob {
  readonly bytes: Buffer
  readonly digest: string
  readonly layout: PieceLayout
  readonly have: HaveSet
  readonly held: HeldBlob

  constructor(bytes: Buffer, file: string) {
    this.bytes = bytes
    this.digest = `sha256:${createHash('sha256').update(bytes).digest('hex')}`
    this.layout = new PieceLayout(bytes.length)
    const have = new SharedArrayBuffer(HaveSet.byteLength(this.layout.count))
    this.have = new HaveSet(this.layout.count, have)
    for (let piece = 0; piece < this.layout.count; piece++) this.have.add(piece)
    this.held = { file, size: bytes.length, have }
  }

  static async create(folder: string, name: string, size: number): Promise<TestBlob> {
    const bytes = Buffer.alloc(size)
    let state = size | 1
    for (let i = 0; i + 4 <= size; i += 4) {
      state = (Math.imul(state, 1664525) + 1013904223) | 0
      bytes.writeInt32LE(state ^ (state >>> 13), i)
    }
    const blob = new TestBlob(bytes, join(folder, name))
    await writeFile(blob.held.file, bytes)
    return blob
  }

  piece(piece: number): Buffer {
    const offset = this.layout.offset(piece)
    return this.bytes.subarray(offset, offset + this.layout.length(piece))
  }

  request(piece: number, file: string, parent: LaneParent): PieceRequest {
    return {
      digest: this.digest,
      piece,
      offset: this.layout.offset(piece),
      length: this.layout.length(piece),
      sha256: new Uint8Array(createHash('sha256').update(this.piece(piece)).digest()),
      file,
      parent,
    }
  }
}

/** A self-signed certificate that carries no libp2p identity, and its key. */
export const STRANGER: LaneCredentials = {
  cert: `-----BEGIN CERTIFICATE-----
MIIBfTCCASOgAwIBAgIUSnijQxdCl49+qP4RjQ02vwoGHAAwCgYIKoZIzj0EAwIw
EzERMA8GA1UEAwwIc3RyYW5nZXIwIBcNMjYxMTIzMDI0NDQwWhgPMjEyNjEwMzAw
MjQ0NDBaMBMxETAPBgNVBAMMCHN0cmFuZ2VyMFkwEwYHKoZIzj0CAQYIKoZIzj0D
AQcDQgAENbSbipw5eHmxbE96Igoi48muc39zd7diwBWGaVol60CsNr+R5kZNgSyV
Qr+ydm8j6Rki+aZ9bG9swB07mQmRY6NTMFEwHQYDVR0OBBYEFG9xOcM95ENvPm3v
1yOsxcSz7yd8MB8GA1UdIwQYMBaAFG9xOcM95ENvPm3v1yOsxcSz7yd8MA8GA1Ud
EwEB/wQFMAMBAf8wCgYIKoZIzj0EAwIDSAAwRQIgPjraJj45Vc2JjYl0/uTN4isG
Eb7WkvGsCV1sVXhEJCkCIQCGpL+aYHApAo0aZAhlIpIFVu3CTBGW0QDBLaY1o0Ol
ZA==
-----END CERTIFICATE-----
`,
  key: `-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgyKH3lQMLi2Kr4MhL
HiO7+DouUHjO3U3eyqlRoqdzGEGhRANCAAQ1tJuKnDl4ebFsT3oiCiLjya5zf3N3
t2LAFYZpWiXrQKw2v5HmRk2BLJVCv7J2byPpGSL5pn1sb2zAHTuZCZFj
-----END PRIVATE KEY-----
`,
}
