import { once } from 'node:events'
import { PassThrough } from 'node:stream'
import { type ByteRange, formatDigest } from '@shoal/core'
import type { OriginClient } from '@shoal/origin'
import type { StoredFile } from '../storage/driver.ts'
import type { FillSource } from './fill.ts'

/** A blob to be read straight from its upstream. */
export function upstreamFile(client: OriginClient, source: FillSource): StoredFile {
  const { sizeBytes } = source
  return { sizeBytes, chunks: (range) => upstreamChunks(client, source, range), close: async () => {} }
}

/** Bytes of a blob straight from its upstream, no faster than they are taken; none of it is kept. */
export async function* upstreamChunks(
  client: OriginClient,
  { registry, repository, digest, sizeBytes }: FillSource,
  { start, end }: ByteRange,
): AsyncGenerator<Uint8Array> {
  const abort = new AbortController()
  const { signal } = abort
  const stream = new PassThrough()
  const call = { registry, repository, digest: formatDigest(digest), size: sizeBytes, start, end, signal }
  client
    .fetchBlob(call, (chunk) => (stream.write(chunk) ? undefined : once(stream, 'drain', { signal })))
    .then(
      () => stream.end(),
      (error) => stream.destroy(error),
    )
  try {
    yield* stream
  } finally {
    // Whoever read it may have left.
    abort.abort()
  }
}
