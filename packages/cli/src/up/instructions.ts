import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { shellQuote } from '../invocation.ts'
import type { NodeDoors } from './layout.ts'

/** containerd's `hosts.toml` for the registry, with a node's mirror before it. */
function hostsToml(registry: string, mirrorUrl: string): string {
  return `server = "http://${registry}"

[host."${mirrorUrl}"]
  capabilities = ["pull", "resolve"]
`
}

/**
 * Writes a `certs.d` folder for containerd that goes through the mirror; returns its path.
 * @param registry `host:port` as image references have it
 */
export async function writeCertsD(folder: string, name: string, registry: string, mirrorUrl: string): Promise<string> {
  const certsD = join(folder, 'certs.d', name)
  await mkdir(join(certsD, registry), { recursive: true })
  await writeFile(join(certsD, registry, 'hosts.toml'), hostsToml(registry, mirrorUrl))
  return certsD
}

/** What the instructions name. */
interface Setting {
  /** `host:port` as image references have it. */
  readonly registry: string
  readonly peer: NodeDoors
  /** The folder that `writeCertsD` wrote for the peer. */
  readonly certsD: string
  /** How Shoal is started; see `invocation`. */
  readonly shoal: string
}

/** How to push to the registry and pull through a node, ready to paste. */
export function instructions({ registry, peer, certsD, shoal }: Setting): string {
  const mirror = new URL(peer.mirrorUrl).host
  return `
Push an image to the registry:
  skopeo copy --dest-tls-verify=false oci:LAYOUT:TAG docker://${registry}/app:1
  docker tag app:1 ${registry}/app:1 && docker push ${registry}/app:1

Pull it through a peer:
  shoal       ${shoal} pull ${registry}/app:1 --node ${peer.adminUrl}

  containerd  ctr images pull --hosts-dir ${shellQuote(certsD)} ${registry}/app:1
              for CRI, in /etc/containerd/config.toml:
                where it says version = 2 (containerd 1.x, and some 2.x)
                  [plugins."io.containerd.grpc.v1.cri".registry]
                    config_path = ${JSON.stringify(certsD)}
                where it says version = 3 or 4 (containerd 2.x)
                  [plugins."io.containerd.cri.v1.images".registry]
                    config_path = ${JSON.stringify(certsD)}
              ${certsD}/${registry}/hosts.toml holds:
${hostsToml(registry, peer.mirrorUrl)
  .trimEnd()
  .split('\n')
  .map((line) => `                ${line}`.trimEnd())
  .join('\n')}

  Docker      docker pull ${mirror}/app:1
              or, for names without a registry, in /etc/docker/daemon.json:
                { "registry-mirrors": ["${peer.mirrorUrl}"], "insecure-registries": ["${mirror}"] }

  Podman and  in /etc/containers/registries.conf:
  CRI-O         [[registry]]
                location = "${registry}"
                insecure = true
                [[registry.mirror]]
                location = "${mirror}"
                insecure = true
`
}
