import type { HaveSet } from '@shoal/core'

/** A node from which pieces may be fetched. */
export interface PieceHolder {
  /** Pieces that it holds. */
  readonly have: HaveSet
  /** Whether it may be asked for a piece now; one that may not still counts when pieces are rare. */
  readonly isFree: boolean
  /** Pieces that are on their way from it. */
  readonly inFlight: number
}

/** What is to be chosen from. */
export interface PieceChoiceView<Holder extends PieceHolder> {
  /** Pieces of the blob. */
  readonly count: number
  /** Whether a piece is missing and not on its way. */
  readonly isOpen: (piece: number) => boolean
  readonly holders: readonly Holder[]
}

/**
 * The piece to fetch next and from whom: of the open pieces that a free holder has, one of those that the fewest holders
 * have; from the holder that sends the fewest just now. Which of equals is left to chance: nodes that miss the same
 * pieces would otherwise all take the same one from its only holder, and have nothing to give each other.
 * Undefined when no free holder has an open piece.
 * @param random 0 ≤ x < 1; decides between pieces, and between holders, that are alike
 */
export function choosePiece<Holder extends PieceHolder>(
  { count, isOpen, holders }: PieceChoiceView<Holder>,
  random: () => number,
): { readonly piece: number; readonly holder: Holder } | undefined {
  let rarest: number[] = []
  let fewest = Number.POSITIVE_INFINITY
  for (let piece = 0; piece < count; piece++) {
    if (!isOpen(piece)) continue
    let held = 0
    let isToBeHad = false
    for (const { have, isFree } of holders) {
      if (!have.has(piece)) continue
      held++
      isToBeHad ||= isFree
    }
    if (!isToBeHad || held > fewest) continue
    if (held < fewest) rarest = []
    rarest.push(piece)
    fewest = held
  }
  const piece = oneOf(rarest, random)
  if (piece === undefined) return undefined
  const holder = leastLoaded(
    holders.filter(({ have, isFree }) => isFree && have.has(piece)),
    random,
  )
  return holder === undefined ? undefined : { piece, holder }
}

function leastLoaded<Holder extends PieceHolder>(holders: readonly Holder[], random: () => number): Holder | undefined {
  const least = Math.min(...holders.map(({ inFlight }) => inFlight))
  return oneOf(
    holders.filter(({ inFlight }) => inFlight === least),
    random,
  )
}

function oneOf<Item>(equals: readonly Item[], random: () => number): Item | undefined {
  return equals[Math.floor(random() * equals.length)]
}
