import type { RegistryOptions } from './options.ts'
import { Upstreams } from './proxy/upstreams.ts'
import type { RetentionPolicy } from './retention/options.ts'

/** The policies of a configuration; behind its own comes the one by which what is kept of other registries goes. */
export function retentionPolicies({
  retention,
  proxy,
}: Pick<RegistryOptions, 'retention' | 'proxy'>): RetentionPolicy[] {
  const expiry = new Upstreams(proxy).retentionPolicy(proxy.keepHours)
  return expiry === undefined ? retention.policies : [...retention.policies, expiry]
}
