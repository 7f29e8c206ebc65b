/** What a slot holds while nobody has it. */
export const FREE = 0

/**
 * Whether a claim on an upload slot stands. A free slot is for anybody, so one requester alone may have them all. What
 * it has beyond its share of them (slots over requesters that hold any, at least 1) is only borrowed, though: it does
 * not stand in the way of others within theirs. They are let in over it, up to twice `slots`, until what was borrowed
 * has come back. So nobody is refused within its share while there are no more requesters than slots, unless that many
 * have come so fast that twice the slots are taken (max-min fairness without taking anything back).
 * @param holders who holds what, the claim in question included: numbers of requesters, and FREE
 * @param claimant the number of who claims
 * @param slots upload slots, at least 1
 */
export function isAdmitted(holders: Iterable<number>, claimant: number, slots: number): boolean {
  const held = new Map<number, number>()
  let total = 0
  for (const holder of holders) {
    if (holder === FREE) continue
    total++
    held.set(holder, (held.get(holder) ?? 0) + 1)
  }
  if (total <= slots) return true
  if (total > 2 * slots) return false
  const share = Math.max(1, Math.floor(slots / held.size))
  if ((held.get(claimant) ?? 0) > share) return false
  let withinShare = 0
  for (const count of held.values()) withinShare += Math.min(count, share)
  return withinShare <= slots
}
