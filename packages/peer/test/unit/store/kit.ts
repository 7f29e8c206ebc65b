import { createHash } from 'node:crypto'
import { open } from 'node:fs/promises'
import { createLogger, digestOf, PieceLayout } from '@shoal/core'
import { Registry } from 'prom-client'
import type { StoredBlob } from '../../../src/store/blob.ts'
import { createStoreMetrics } from '../../../src/store/metrics.ts'
import type { StoreOptions } from '../../../src/store/options.ts'
import { BlobStore, type BlobStoreDependencies } from '../../../src/store/store.ts'
import { hashBlob, hashPieces, hashUnhurried } from '../../../src/workers/hashing.ts'

/** No limit but the disk. */
export const UNLIMITED: StoreOptions = {
  quotaBytes: 0,
  highWatermark: 0.9,
  lowWatermark: 0.8,
  minFreeBytes: 0,
  manifestBytes: 1024 ** 2,
  scrubDays: 0,
  containerdContent: '',
}

/** The worker threads' hashing, in this thread. */
export const hasher: BlobStoreDependencies['hasher'] = {
  hashPieces: (file, size, pieces, signal) => hashPieces({ file, size, pieces }, signal),
  hashBlob: (file, algorithm, signal) => hashBlob({ file, algorithm }, signal),
  hashUnhurried: (file, size, algorithm, signal) => hashUnhurried({ file, size, algorithm }, signal),
}

export const sha256 = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest()

/** A blob of bytes that follow from `seed`. */
export function makeContent(seed: string, size: number): { bytes: Buffer; digest: string } {
  const bytes = createHash('shake256', { outputLength: size }).update(seed).digest()
  return { bytes, digest: digestOf(bytes) }
}

/** A store that is not started, and its metrics. */
export function makeStore(
  dataDir: string,
  options: Partial<StoreOptions> = {},
  dependencies: Partial<BlobStoreDependencies> = {},
): { store: BlobStore; registry: Registry } {
  const registry = new Registry()
  const store: BlobStore = new BlobStore(
    { dataDir, ...UNLIMITED, ...options },
    {
      hasher,
      metrics: createStoreMetrics(registry, () => store.view()),
      log: createLogger('test', 'silent'),
      ...dependencies,
    },
  )
  return { store, registry }
}

/** Writes a piece as a worker thread would, and records it. */
export async function addPiece(store: BlobStore, blob: StoredBlob, piece: number, bytes: Buffer): Promise<void> {
  const { layout } = blob
  const part = bytes.subarray(layout.offset(piece), layout.offset(piece) + layout.length(piece))
  const handle = await open(blob.file, blob.isOnePiece ? 'w' : 'r+')
  try {
    await handle.write(part, 0, part.byteLength, layout.offset(piece))
  } finally {
    await handle.close()
  }
  await store.addPiece(blob, piece, sha256(part))
}

/** Puts a whole blob into the store. */
export async function putBlob(store: BlobStore, bytes: Buffer, digest = digestOf(bytes)): Promise<string> {
  const blob = await store.create(digest, bytes.byteLength)
  const { count } = new PieceLayout(bytes.byteLength)
  for (let piece = 0; piece < count; piece++) await addPiece(store, blob, piece, bytes)
  await store.publish(blob)
  return digest
}

/** The value of a metric with these labels; undefined when there is none. */
export async function metricOf(registry: Registry, name: string, labels: Record<string, string> = {}) {
  const found = await registry.getSingleMetric(name)?.get()
  return found?.values.find((value) => Object.entries(labels).every(([key, want]) => value.labels[key] === want))?.value
}
