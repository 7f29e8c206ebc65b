import { isLoopback, isOfThisMachineOnly } from '@shoal/core'

/**
 * Where the lane of a node is that says it is at `said`, at the other end of a connection with `remote`. Nothing said is
 * `remote`; so is, from another machine, an address that leads to somebody else there: loopback, unspecified, link-local.
 */
export function laneHostOf(said: string, remote: string | undefined): string | undefined {
  const isFar = remote !== undefined && !isLoopback(remote)
  return said === '' || (isFar && isOfThisMachineOnly(said)) ? remote : said
}
