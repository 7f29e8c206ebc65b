import { hashOfText, randomWeight } from '@shoal/core'

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
    const weight = randomWeight(hashOfText(address, hashOfText(digest)))
    if (weight < bestWeight || (weight === bestWeight && best !== undefined && address > best)) continue
    best = address
    bestWeight = weight
  }
  return best
}
