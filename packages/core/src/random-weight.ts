/** A number of 32 bits for a text, the same everywhere (FNV-1a); `start` goes on from that of what came before it. */
export function hashOfText(text: string, start = 0x811c9dc5): number {
  let hash = start
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193)
  return hash
}

/**
 * The weight that a hash gives in rendezvous hashing, 0 to 2³² − 1: hashes that differ in one bit have weights that
 * differ in half of theirs (murmur3's finalizer).
 */
export function randomWeight(hash: number): number {
  let mixed = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
