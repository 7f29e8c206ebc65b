import type { Writable } from 'node:stream'
import { tryParseDigest } from '@shoal/core'
import {
  type Finding,
  quarantine,
  type RegistryOptions,
  registryService,
  type StorageDriver,
  Upstreams,
  type Verified,
  verifyStorage,
} from '@shoal/registry'
import { type ConfigSources, loadServiceConfig } from './configure.ts'
import { CliError } from './errors.ts'
import { mebibytes } from './pull/progress.ts'
import { storageOf } from './registry-storage.ts'

const SHOW_EVERY_MS = 1000
/** Findings that the JSON line holds; all are counted. */
const MOST_FINDINGS = 10_000

/**
 * Checks what a registry stores, in the storage of its configuration; the registry may run meanwhile. A scrub also takes
 * damaged contents out of the way. Throws CliError `VERIFY_DAMAGED` when something is not as it must be, `USAGE` when
 * there is no such folder.
 */
export async function verifyRegistry(
  options: ConfigSources & { readonly json: boolean; readonly isScrub?: boolean },
  { stdout, now = () => performance.now() }: { stdout: Writable; now?: () => number },
): Promise<void> {
  const { values } = await loadServiceConfig(registryService, options)
  const driver = await storageOf(values)
  const say = (line: string) => {
    if (!options.json) stdout.write(`${line}\n`)
  }
  const findings: Finding[] = []
  let count = 0
  let shownMs = now()
  const verified = await verifyStorage(driver, {
    upstreams: new Upstreams((values as RegistryOptions).proxy),
    found: (finding) => {
      if (count++ < MOST_FINDINGS) findings.push(finding)
      say(`${finding.kind}: ${finding.where}: ${finding.why}`)
    },
    progress: (soFar) => {
      if (now() - shownMs < SHOW_EVERY_MS) return
      shownMs = now()
      say(lineOf(soFar))
    },
  })
  const quarantined = options.isScrub === true ? await quarantineAll(driver, findings) : []
  for (const path of quarantined) say(`out of the way: ${path}`)
  say(`${lineOf(verified)}; ${count === 0 ? 'all is well' : `${count} findings`}`)
  if (options.json)
    stdout.write(`${JSON.stringify({ ...verified, count, findings, ...(options.isScrub && { quarantined }) })}\n`)
  if (count > 0) {
    throw new CliError('VERIFY_DAMAGED', `${count} findings: push the images that are named again, and check the disk`)
  }
}

/** What is damaged but named by a manifest is found a second time, by its digest. */
async function quarantineAll(driver: StorageDriver, findings: readonly Finding[]): Promise<string[]> {
  const digests = findings.filter(({ kind }) => kind === 'corrupt').map(({ where }) => tryParseDigest(where))
  const paths: string[] = []
  for (const digest of digests) {
    const path = digest && (await quarantine(driver, digest))
    if (path !== undefined) paths.push(path)
  }
  return paths
}

function lineOf({ repositories, tags, manifests, blobs, bytes }: Verified): string {
  return `checked ${repositories} repositories, ${tags} tags, ${manifests} manifests, ${blobs} blobs, ${mebibytes(bytes)}`
}
