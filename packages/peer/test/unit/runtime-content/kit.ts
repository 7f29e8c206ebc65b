import { randomUUID } from 'node:crypto'
import { mkdir, rename, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { createLogger, digestOf, type Logger, parseDigest } from '@shoal/core'
import { Registry } from 'prom-client'
import { createRuntimeContentMetrics } from '../../../src/runtime-content/metrics.ts'
import { RuntimeContent, type RuntimeContentListener } from '../../../src/runtime-content/runtime-content.ts'
import type { ContentHasher } from '../../../src/runtime-content/verification.ts'
import type { IndexDb } from '../../../src/store/index-db.ts'

/** The runtime's content, not started, with its metrics. */
export function makeRuntimeContent(
  folder: string,
  index: IndexDb,
  dependencies: { hasher: ContentHasher; listener: RuntimeContentListener; log?: Logger; rescanMs?: number },
): { content: RuntimeContent; registry: Registry } {
  const { hasher, listener, log = createLogger('test', 'silent'), rescanMs } = dependencies
  const registry = new Registry()
  const metrics = createRuntimeContentMetrics(registry, () => content.view())
  const options = { folder, ...(rescanMs === undefined ? {} : { rescanMs }) }
  const content: RuntimeContent = new RuntimeContent(options, { index, hasher, listener, metrics, log })
  return { content, registry }
}

/** Where containerd keeps a blob. */
export function containerdFile(folder: string, digest: string): string {
  const { algorithm, hex } = parseDigest(digest)
  return join(folder, 'blobs', algorithm, hex)
}

/** Commits content as containerd does: written below `ingest`, renamed into place. Returns its digest. */
export async function commit(folder: string, bytes: Uint8Array, digest = digestOf(bytes)): Promise<string> {
  const target = containerdFile(folder, digest)
  const ingest = join(folder, 'ingest', randomUUID())
  await mkdir(ingest, { recursive: true })
  await mkdir(dirname(target), { recursive: true })
  await writeFile(join(ingest, 'data'), bytes, { mode: 0o444 })
  await rename(join(ingest, 'data'), target)
  return digest
}
