import type { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createZstdDecompress } from 'node:zlib'
import type { ResponseHead } from './exchange.ts'

const DECODERS: Readonly<Record<string, () => NodeJS.ReadWriteStream & Readable>> = {
  gzip: createGunzip,
  'x-gzip': createGunzip,
  deflate: createInflate,
  br: createBrotliDecompress,
  zstd: createZstdDecompress,
}

/**
 * The answer's body and head as if it were not encoded: some servers compress although identity was asked for, and
 * clients of theirs decode that. Undefined when there is nothing to decode, or it cannot be: a part of what is encoded.
 */
export function decodedBody(
  response: IncomingMessage,
  method: 'GET' | 'HEAD',
  head: ResponseHead,
): { readonly body: Readable; readonly head: ResponseHead } | undefined {
  const { 'content-encoding': encoding, 'content-length': _, ...headers } = head.headers
  const decoder = typeof encoding === 'string' ? DECODERS[encoding.toLowerCase()] : undefined
  if (decoder === undefined || method === 'HEAD' || head.status !== 200) return undefined
  return { body: response.pipe(decoder()), head: { status: head.status, headers } }
}
