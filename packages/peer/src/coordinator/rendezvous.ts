/**
 * The scheduler that a blob belongs to: the one with the highest random weight for its digest (rendezvous hashing;
 * Thaler and Ravishankar, 1998). Every node that knows the same addresses says the same, in whatever order it knows
 * them; when an address goes, its blobs alone move, and to the one that was next in weight.
 * @param addresses each once
 * @returns undefined when there are none
 */
export function schedulerOf(digest: string, addresses: Iterable<string>): string | undefined {
  let best: string | undefined
  let bestWeight = -1
  for (const address of addresses) {
    const weight = weightOf(digest, address)
    if (weight < bestWeight || (weight === bestWeight && best !== undefined && address > best)) continue
    best = address
    bestWeight = weight
  }
  return best
}

/** FNV-1a of both, mixed (murmur3's finalizer) so that addresses that differ in the last letter spread. */
function weightOf(digest: string, address: string): number {
  let hash = fnv1a(fnv1a(0x811c9dc5, digest), address)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function fnv1a(start: number, text: string): number {
  let hash = start
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}
