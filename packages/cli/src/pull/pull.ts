import type { Readable, Writable } from 'node:stream'
import { setInterval } from 'node:timers/promises'
import {
  blobsOf,
  type Descriptor,
  type Manifest,
  manifestReferenceOf,
  parseImageReference,
  parseManifest,
} from '@shoal/core'
import { CliError } from '../errors.ts'
import { fetchManifest, type MirrorTarget, readBlob } from './mirror-client.ts'
import { type DownloadStatus, NodeClient } from './node-client.ts'
import { readPassword } from './password.ts'
import { createProgress, mebibytes, type Progress, sourcesOf } from './progress.ts'

const PARALLEL_BLOBS = 3
const REFRESH_MS = 200

/** Flags of `shoal pull`. */
export interface PullOptions {
  readonly node: string
  /** `os/architecture`. */
  readonly platform: string
  readonly username?: string
  /** Whether all of standard input is the password; else it is asked for at the terminal. */
  readonly passwordStdin?: boolean
}

/** Brings an image to a node through its mirror and checks every digest. Throws CliError. */
export async function pullImage(
  ref: string,
  options: PullOptions,
  io: {
    stdout: Writable & { readonly isTTY?: boolean }
    stderr: Writable
    stdin: Readable & { readonly isTTY?: boolean }
  },
): Promise<void> {
  const reference = parseImageReference(ref)
  const { username, passwordStdin: isStdin = false } = options
  if (isStdin && username === undefined) throw new CliError('USAGE', '--password-stdin goes with --username')
  const node = new NodeClient(options.node)
  const target: MirrorTarget = {
    mirrorUrl: await node.mirrorUrl(),
    registry: reference.registry,
    repository: reference.repository,
    authorization:
      username === undefined ? undefined : basic(username, await readPassword(username, { ...io, isStdin })),
  }
  const { manifest, digest } = await findImage(target, manifestReferenceOf(reference), options.platform)
  const blobs = blobsOf(manifest).filter(({ urls }) => urls === undefined)
  const before = new Set((await node.downloads()).filter(({ state }) => state !== 'active').map((d) => d.digest))
  const beganMs = performance.now()
  const progress = createProgress(io.stdout, blobs)
  const finished = new AbortController()
  const refreshing = refresh(node, progress, finished.signal)
  const statuses: DownloadStatus[] = []
  try {
    const queue = [...blobs]
    const pullNext = async (): Promise<void> => {
      for (let blob = queue.shift(); blob !== undefined; blob = queue.shift()) {
        await readBlob(target, blob.digest)
        const status = await statusOf(node, blob, before)
        if (status !== undefined) statuses.push(status)
        progress.done(blob, status)
      }
    }
    await Promise.all(Array.from({ length: PARALLEL_BLOBS }, pullNext))
  } finally {
    finished.abort()
    await refreshing
    progress.close()
  }
  const total = blobs.reduce((sum, { size }) => sum + size, 0)
  const sources = sourcesOf(sumOf(statuses)) || 'all of it was here already'
  const seconds = (performance.now() - beganMs) / 1000
  const pace = `in ${seconds.toFixed(1)} s (${mebibytes(total / seconds)}/s)`
  io.stdout.write(`${ref} ${digest}\n${blobs.length} blobs, ${mebibytes(total)} ${pace}: ${sources}\n`)
}

async function findImage(
  target: MirrorTarget,
  reference: string,
  platform: string,
): Promise<{ manifest: Manifest; digest: string }> {
  const { bytes, mediaType, digest } = await fetchManifest(target, reference)
  const manifest = parseManifest(bytes, mediaType)
  if (manifest.kind === 'image') return { manifest, digest }
  const [os, architecture] = platform.split('/')
  const child = manifest.manifests.find((m) => m.platform?.os === os && m.platform?.architecture === architecture)
  if (child === undefined) {
    const known = manifest.manifests.map((m) => `${m.platform?.os}/${m.platform?.architecture}`).join(', ')
    throw new CliError('PULL_FAILED', `the index has no image for ${platform}; it has: ${known || 'none'}`)
  }
  return findImage(target, child.digest, platform)
}

async function refresh(node: NodeClient, progress: Progress, signal: AbortSignal): Promise<void> {
  try {
    for await (const _ of setInterval(REFRESH_MS, undefined, { signal })) {
      progress.update((await node.downloads()).filter(({ state }) => state === 'active'))
    }
  } catch (error) {
    // The bars are a courtesy: the pull itself says when the node is gone.
    if (!signal.aborted) progress.close()
    else if (!(error instanceof Error && error.name === 'AbortError')) throw error
  }
}

/** How the blob came; undefined when the node had it before. */
async function statusOf(
  node: NodeClient,
  blob: Descriptor,
  before: ReadonlySet<string>,
): Promise<DownloadStatus | undefined> {
  if (before.has(blob.digest)) return undefined
  return (await node.downloads()).find(({ digest }) => digest === blob.digest)
}

function sumOf(statuses: readonly DownloadStatus[]): DownloadStatus['bytes'] {
  const sum = { peer: 0, seed: 0, origin: 0 }
  for (const { bytes } of statuses) {
    sum.peer += bytes.peer
    sum.seed += bytes.seed
    sum.origin += bytes.origin
  }
  return sum
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`
}
