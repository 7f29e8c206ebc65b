import { createHash } from 'node:crypto'

/** A key's place in the DHT. Source: libp2p specs, kad-dht, "Distance". */
export function placeOf(key: Uint8Array): Buffer {
  return createHash('sha256').update(key).digest()
}

/** The `count` candidates nearest to `target` by the DHT's XOR distance, nearest first; each with its place. */
export function nearestTo<T extends { readonly place: Uint8Array }>(
  target: Uint8Array,
  candidates: readonly T[],
  count: number,
): T[] {
  return [...candidates].sort((a, b) => compareDistance(target, a.place, b.place)).slice(0, count)
}

function compareDistance(target: Uint8Array, a: Uint8Array, b: Uint8Array): number {
  for (let i = 0; i < target.length; i++) {
    const difference = ((a[i] ?? 0) ^ (target[i] ?? 0)) - ((b[i] ?? 0) ^ (target[i] ?? 0))
    if (difference !== 0) return difference
  }
  return 0
}
