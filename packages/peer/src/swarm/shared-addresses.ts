import type { Multiaddr } from '@multiformats/multiaddr'
import { isOfThisMachineOnly } from '@shoal/core'

const HOST_CODES: ReadonlySet<string> = new Set(['ip4', 'ip6', 'dns', 'dns4', 'dns6', 'dnsaddr'])

/** The host that an address leads to; undefined: it names none. */
function hostOf(address: Multiaddr): string | undefined {
  return address.getComponents().find(({ name }) => HOST_CODES.has(name))?.value
}

/** Whether an address leads elsewhere, or nowhere, from another machine. */
export function isOnlyHere(address: Multiaddr): boolean {
  const host = hostOf(address)
  return host === undefined || isOfThisMachineOnly(host)
}

/**
 * Those of a node's own addresses that others are told: which lead to it from other machines. When none does, all: then
 * only nodes of this machine reach it, and they need one.
 */
export function addressesToShare(own: readonly Multiaddr[]): Multiaddr[] {
  const shared = own.filter((address) => !isOnlyHere(address))
  return shared.length > 0 ? shared : [...own]
}
