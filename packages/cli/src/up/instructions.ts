import { mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { type NodeDoors, REGISTRY_NAME, REGISTRY_URL } from './layout.ts'

/** containerd's `hosts.toml` for the registry, with a node's mirror before it. */
function hostsToml(mirrorUrl: string): string {
  return `server = "${REGISTRY_URL}"

[host."${mirrorUrl}"]
  capabilities = ["pull", "resolve"]
`
}

/** Writes a `certs.d` folder for containerd that goes through the mirror; returns its path. */
export async function writeCertsD(folder: string, name: string, mirrorUrl: string): Promise<string> {
  const certsD = join(folder, 'certs.d', name)
  await mkdir(join(certsD, REGISTRY_NAME), { recursive: true })
  await writeFile(join(certsD, REGISTRY_NAME, 'hosts.toml'), hostsToml(mirrorUrl))
  return certsD
}

/** How to push to the registry and pull through a node, ready to paste. */
export function instructions(peer: NodeDoors, certsD: string): string {
  const mirror = new URL(peer.mirrorUrl).host
  return `
Push an image to the registry:
  skopeo copy --dest-tls-verify=false oci:LAYOUT:TAG docker://${REGISTRY_NAME}/app:1
  docker tag app:1 ${REGISTRY_NAME}/app:1 && docker push ${REGISTRY_NAME}/app:1

Pull it through a peer:
  shoal       npm run shoal -- pull ${REGISTRY_NAME}/app:1 --node ${peer.adminUrl}

  containerd  ctr images pull --hosts-dir ${certsD} ${REGISTRY_NAME}/app:1
              for CRI, in /etc/containerd/config.toml:
                where it says version = 2 (containerd 1.x, and some 2.x)
                  [plugins."io.containerd.grpc.v1.cri".registry]
                    config_path = "${certsD}"
                where it says version = 3 or 4 (containerd 2.x)
                  [plugins."io.containerd.cri.v1.images".registry]
                    config_path = "${certsD}"
              ${certsD}/${REGISTRY_NAME}/hosts.toml holds:
${hostsToml(peer.mirrorUrl)
  .trimEnd()
  .split('\n')
  .map((line) => `                ${line}`.trimEnd())
  .join('\n')}

  Docker      docker pull ${mirror}/app:1
              or, for names without a registry, in /etc/docker/daemon.json:
                { "registry-mirrors": ["${peer.mirrorUrl}"], "insecure-registries": ["${mirror}"] }

  Podman and  in /etc/containers/registries.conf:
  CRI-O         [[registry]]
                location = "${REGISTRY_NAME}"
                insecure = true
                [[registry.mirror]]
                location = "${mirror}"
                insecure = true
`
}
