import { mkdir, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { generateKeyPair, privateKeyFromProtobuf, privateKeyToProtobuf } from '@libp2p/crypto/keys'
import type { PrivateKey } from '@libp2p/interface'
import { peerIdFromPrivateKey, peerIdFromString } from '@libp2p/peer-id'
import { keepToOwner, OWNER_ONLY, writeFileAtomic } from '../data-folder.ts'
import { CoreError, systemErrorCode } from '../errors.ts'
import type { Logger } from '../log.ts'

/** Who a node is: an Ed25519 key and the libp2p peer id that follows from it. */
export interface Identity {
  readonly privateKey: PrivateKey
  /** Text form of the peer id. */
  readonly peerId: string
}

/**
 * The identity kept in the file `path` (the key as libp2p's protobuf, readable by its owner alone); a new one is made
 * and kept when there is none. When others may read the file, that is ended, and the log says that they could. Throws
 * CoreError `IDENTITY_INVALID` when the file holds something else.
 */
export async function loadOrCreateIdentity(path: string, log?: Pick<Logger, 'warn'>): Promise<Identity> {
  let bytes: Uint8Array
  try {
    bytes = await readFile(path)
  } catch (error) {
    if (systemErrorCode(error) !== 'ENOENT') throw error
    const privateKey = await generateKeyPair('Ed25519')
    await mkdir(dirname(path), { recursive: true, mode: OWNER_ONLY.folder })
    await writeFileAtomic(path, privateKeyToProtobuf(privateKey), OWNER_ONLY.file)
    return identityOf(privateKey)
  }
  const kept = await keepToOwner(path)
  if (kept !== 'was') {
    const now = kept === 'done' ? 'they cannot any more' : 'they still can: its rights cannot be changed by this user'
    log?.warn({ path }, `other users could read the key of this node; ${now}. Delete it for a new one if they may have`)
  }
  try {
    return identityOf(privateKeyFromProtobuf(bytes))
  } catch (cause) {
    throw new CoreError(
      'IDENTITY_INVALID',
      `${path} does not hold a libp2p private key: restore it, or delete it to get a new identity`,
      { cause },
    )
  }
}

/** Whether `text` is a libp2p peer id. */
export function isPeerId(text: string): boolean {
  if (text.length > 128) return false
  try {
    peerIdFromString(text)
    return true
  } catch {
    return false
  }
}

function identityOf(privateKey: PrivateKey): Identity {
  return { privateKey, peerId: peerIdFromPrivateKey(privateKey).toString() }
}
