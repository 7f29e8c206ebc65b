import type { HaveSet } from '@shoal/core'

/** A source counts as if so many more pieces were on their way from it. */
const SOURCE_LOAD = 2

/** A node from which pieces may be fetched. */
export interface PieceHolder {
  /** Pieces that it holds. */
  readonly have: HaveSet
  /** Whether it may be asked for a piece now; one that may not still counts when pieces are rare. */
  readonly isFree: boolean
  /** Pieces that are on their way from it. */
  readonly inFlight: number
  /** Whether it has, or fetches from the origin, the whole blob: it is spared for pieces that only it has. */
  readonly isSource: boolean
}

/** What is to be chosen from. */
export interface PieceChoiceView<Holder extends PieceHolder> {
  /** Pieces of the blob. */
  readonly count: number
  /** Whether a piece is missing and not on its way. */
  readonly isOpen: (piece: number) => boolean
  readonly holders: readonly Holder[]
  /** Whether it is this node's turn to fetch a piece that so many hold, rather than another's. */
  readonly isTurn: (piece: number, holders: number) => boolean
  /** Whether a piece is to be chosen though it is the turn of others: of any, or not of those that only sources have. */
  readonly outOfTurn: 'any' | 'shared' | 'none'
}

/**
 * The piece to fetch next and from whom: of the open pieces that a free holder has and whose turn it is, one of those
 * that the fewest holders have; from the holder that sends the fewest just now. Out of turn, if it may be, one of those
 * that the most have, as others are about to fetch the rare ones. Which of equals is left to chance.
 * Undefined when there is none.
 * @param random 0 ≤ x < 1; decides between pieces, and between holders, that are alike
 */
export function choosePiece<Holder extends PieceHolder>(
  view: PieceChoiceView<Holder>,
  random: () => number,
): { readonly piece: number; readonly holder: Holder } | undefined {
  const { holders } = view
  const piece = oneOf(piecesToChoose(view), random)
  if (piece === undefined) return undefined
  const holder = leastLoaded(
    holders.filter(({ have, isFree }) => isFree && have.has(piece)),
    random,
  )
  return holder === undefined ? undefined : { piece, holder }
}

/** Pieces that are equally good to fetch next. */
function piecesToChoose({ count, isOpen, holders, isTurn, outOfTurn }: PieceChoiceView<PieceHolder>): number[] {
  let rarest: number[] = []
  let fewest = Number.POSITIVE_INFINITY
  let commonest: number[] = []
  let most = 0
  for (let piece = 0; piece < count; piece++) {
    if (!isOpen(piece)) continue
    const held = holdersOf(piece, holders)
    if (held === 0) continue
    if (held <= fewest && isTurn(piece, held)) {
      if (held < fewest) rarest = []
      rarest.push(piece)
      fewest = held
    } else if (held >= most && (outOfTurn === 'any' || (outOfTurn === 'shared' && isShared(piece, holders)))) {
      if (held > most) commonest = []
      commonest.push(piece)
      most = held
    }
  }
  return rarest.length > 0 ? rarest : commonest
}

/** How many hold a piece; 0 when none of them is free. */
function holdersOf(piece: number, holders: readonly PieceHolder[]): number {
  let held = 0
  let isToBeHad = false
  for (const { have, isFree } of holders) {
    if (!have.has(piece)) continue
    held++
    isToBeHad ||= isFree
  }
  return isToBeHad ? held : 0
}

/** Whether a holder that is free and no source has the piece. */
function isShared(piece: number, holders: readonly PieceHolder[]): boolean {
  return holders.some(({ have, isFree, isSource }) => isFree && !isSource && have.has(piece))
}

function leastLoaded<Holder extends PieceHolder>(holders: readonly Holder[], random: () => number): Holder | undefined {
  const loadOf = ({ inFlight, isSource }: Holder) => inFlight + (isSource ? SOURCE_LOAD : 0)
  const least = Math.min(...holders.map(loadOf))
  return oneOf(
    holders.filter((holder) => loadOf(holder) === least),
    random,
  )
}

function oneOf<Item>(equals: readonly Item[], random: () => number): Item | undefined {
  return equals[Math.floor(random() * equals.length)]
}
