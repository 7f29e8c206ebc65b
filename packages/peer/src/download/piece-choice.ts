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
 * The piece to fetch next and from whom: of the open pieces that a free holder has, the one that the fewest holders
 * have, the first of these, so that bytes come nearly in order; from the holder that sends the fewest just now.
 * Undefined when no free holder has an open piece.
 * @param random 0 ≤ x < 1; decides between holders that are alike
 */
export function choosePiece<Holder extends PieceHolder>(
  { count, isOpen, holders }: PieceChoiceView<Holder>,
  random: () => number,
): { readonly piece: number; readonly holder: Holder } | undefined {
  let rarest: number | undefined
  let fewest = Number.POSITIVE_INFINITY
  for (let piece = 0; piece < count && fewest > 1; piece++) {
    if (!isOpen(piece)) continue
    let held = 0
    let isToBeHad = false
    for (const { have, isFree } of holders) {
      if (!have.has(piece)) continue
      held++
      isToBeHad ||= isFree
    }
    if (!isToBeHad || held >= fewest) continue
    rarest = piece
    fewest = held
  }
  if (rarest === undefined) return undefined
  const piece = rarest
  const holder = leastLoaded(
    holders.filter(({ have, isFree }) => isFree && have.has(piece)),
    random,
  )
  return holder === undefined ? undefined : { piece, holder }
}

function leastLoaded<Holder extends PieceHolder>(holders: readonly Holder[], random: () => number): Holder | undefined {
  const least = Math.min(...holders.map(({ inFlight }) => inFlight))
  const equals = holders.filter(({ inFlight }) => inFlight === least)
  return equals[Math.floor(random() * equals.length)]
}
