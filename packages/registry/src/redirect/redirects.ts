import { readFile } from 'node:fs/promises'
import { CoreError } from '@shoal/core'
import type { StorageDriver } from '../storage/driver.ts'
import type { RedirectOptions } from './options.ts'

/** Signs a URL that is good until `expiresAtMs`, milliseconds since 1970. */
type Sign = (url: string, expiresAtMs: number) => string

/** Where clients can read stored files by themselves. */
export interface Redirects {
  /** undefined when the registry is to send the file itself. */
  urlOf(path: string): Promise<string | undefined>
}

/**
 * Makes redirects to a CDN, or else to the storage. Throws CoreError `CONFIG_INVALID` when that can not be.
 * @param prefix of the storage's keys, which a CDN sees too
 */
export async function createRedirects(
  { enabled, expiresSeconds, cdn }: RedirectOptions,
  driver: StorageDriver,
  prefix: string,
): Promise<Redirects | undefined> {
  if (!enabled) return undefined
  if (cdn === undefined) {
    if (driver.presign === undefined) {
      throw new CoreError('CONFIG_INVALID', 'redirect: the storage gives no URLs; set redirect.cdn, or leave it off')
    }
    return { urlOf: async (path) => driver.presign?.(path, expiresSeconds) }
  }
  const sign = await signerOf(cdn)
  const base = [cdn.baseUrl, prefix].map((part) => part.replace(/^\/+|\/+$/g, '')).filter((part) => part !== '')
  return {
    urlOf: async (path) => {
      // Digests and the layout's own names: nothing in a path needs to be encoded.
      return sign([...base, path].join('/'), Date.now() + expiresSeconds * 1000)
    },
  }
}

async function signerOf({ keyPairId, privateKeyFile }: NonNullable<RedirectOptions['cdn']>): Promise<Sign> {
  if ((keyPairId === undefined) !== (privateKeyFile === undefined)) {
    throw new CoreError('CONFIG_INVALID', 'redirect.cdn: give keyPairId and privateKeyFile together, or neither')
  }
  if (keyPairId === undefined || privateKeyFile === undefined) return (url) => url
  const privateKey = await readFile(privateKeyFile, 'utf8').catch((cause) => {
    throw new CoreError('CONFIG_INVALID', `redirect.cdn.privateKeyFile: ${privateKeyFile} can not be read`, { cause })
  })
  const { getSignedUrl } = await import('@aws-sdk/cloudfront-signer')
  const sign: Sign = (url, expiresAtMs) =>
    getSignedUrl({ url, keyPairId, privateKey, dateLessThan: new Date(expiresAtMs).toISOString() })
  try {
    sign('https://example.org/', Date.now())
  } catch (cause) {
    throw new CoreError('CONFIG_INVALID', `redirect.cdn.privateKeyFile: ${privateKeyFile} holds no RSA key in PEM`, {
      cause,
    })
  }
  return sign
}
