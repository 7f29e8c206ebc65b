import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

/** Where containerd is to look for a registry's content. */
export interface RegistryHosts {
  /** The registry as references name it, for example `docker.io` or `127.0.0.1:5000`; `_default` for all others. */
  readonly registry: string
  /** URLs asked in this order; each with the `ns` of the registry. */
  readonly mirrors: readonly string[]
  /** URL asked last; containerd's own guess (HTTPS at the registry's name) unless told. */
  readonly server?: string
}

/** Writes `FOLDER/<registry>/hosts.toml`. Source: containerd, docs/hosts.md. */
export async function writeHostsToml(certsFolder: string, hosts: RegistryHosts): Promise<void> {
  const folder = join(certsFolder, hosts.registry)
  const lines = hosts.server === undefined ? [] : [`server = ${JSON.stringify(hosts.server)}`]
  for (const mirror of hosts.mirrors) {
    lines.push('', `[host.${JSON.stringify(mirror)}]`, '  capabilities = ["pull", "resolve"]')
  }
  await mkdir(folder, { recursive: true })
  await writeFile(join(folder, 'hosts.toml'), `${lines.join('\n')}\n`)
}
