import { run } from '../process.ts'

/** How skopeo goes about it. */
export interface SkopeoOptions {
  /** Refuses registries that are not reached by TLS with a trusted certificate. */
  readonly verifyTls?: boolean
  /** Folder with a `ca.crt` (and a client's `.cert` and `.key`) to trust. */
  readonly certFolder?: string
  readonly credentials?: { readonly username: string; readonly password: string }
}

/**
 * Copies an image as it is (digests stay), with all images of an index, between skopeo's places:
 * `oci:FOLDER:TAG`, `docker://HOST/REPOSITORY:TAG`, `docker-archive:FILE:REFERENCE`, …
 * @param args more of its flags; `['--format', 'v2s2']` and the like can change the image only without `isExact`
 */
export async function skopeoCopy(
  source: string,
  target: string,
  options: SkopeoOptions & { readonly isExact?: boolean; readonly args?: readonly string[] } = {},
): Promise<void> {
  const { verifyTls = false, certFolder, credentials, isExact = true, args = [] } = options
  const flags = [`--src-tls-verify=${verifyTls}`, `--dest-tls-verify=${verifyTls}`, ...args]
  if (isExact) flags.push('--all', '--preserve-digests')
  for (const side of [source.startsWith('docker://') && 'src', target.startsWith('docker://') && 'dest']) {
    if (side === false) continue
    if (certFolder !== undefined) flags.push(`--${side}-cert-dir`, certFolder)
    if (credentials !== undefined) flags.push(`--${side}-creds`, `${credentials.username}:${credentials.password}`)
  }
  await run('skopeo', ['--insecure-policy', 'copy', ...flags, source, target])
}

/** The raw manifest or index of an image, as the registry has it. */
export async function skopeoInspectRaw(source: string, options: SkopeoOptions = {}): Promise<string> {
  const { verifyTls = false, certFolder, credentials } = options
  const flags = ['--raw', `--tls-verify=${verifyTls}`]
  if (certFolder !== undefined) flags.push('--cert-dir', certFolder)
  if (credentials !== undefined) flags.push('--creds', `${credentials.username}:${credentials.password}`)
  return (await run('skopeo', ['--insecure-policy', 'inspect', ...flags, source])).stdout
}
