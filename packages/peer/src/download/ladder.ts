/**
 * Where a download gets its pieces from, best first:
 *
 * - `scheduler`: what it assigns and leases
 * - `holders`: nodes that the DHT says hold some of it
 * - `rendezvous`: a node nearest to the digest fetches it from the origin, and all others from that
 * - `origin`: it is fetched from the origin directly
 *
 * Below the first rung holders are asked on each of them, so what the swarm has never comes from the origin.
 */
export type Rung = 'scheduler' | 'holders' | 'rendezvous' | 'origin'

/** Why a download does not wait for the scheduler. */
type FallbackReason = 'no_scheduler' | 'swarm_failed' | 'distrusted' | 'no_progress'

/** Where a download stands. */
export interface Standing {
  readonly rung: Rung
  /** Undefined on the first rung only. */
  readonly reason?: FallbackReason
  readonly sinceMs: number
  /** When it last had hope on this rung; undefined: never. */
  readonly hopeMs?: number
}

/** What decides on which rung a download stands. Times in milliseconds of one clock. */
export interface LadderView {
  readonly nowMs: number
  /**
   * When a piece, or as many bytes, last arrived, the download began, or the scheduler came back or said that the swarm
   * gets on.
   */
  readonly lastProgressMs: number
  /** Since when the scheduler is gone; undefined while it is there. */
  readonly disconnectedSinceMs: number | undefined
  /** The scheduler said that no node can get the blob. */
  readonly hasSwarmFailed: boolean
  /** The swarm gave bytes that have another digest than the blob: it is not asked again. */
  readonly isSwarmDistrusted: boolean
  /** The nodes to ask on this rung are still being found or asked for the first time. */
  readonly isSearching: boolean
  /** Some node has, or is fetching from the origin, some of what is missing. */
  readonly hasHope: boolean
}

/** How long each rung is stood on. All in milliseconds. */
export interface LadderOptions {
  readonly schedulerGraceMs: number
  readonly patienceMs: number
  readonly holdersMs: number
  readonly rendezvousMs: number
}

/** Where the download stands now; the same object when nothing changed. */
export function nextStanding(standing: Standing, view: LadderView, options: LadderOptions): Standing {
  const reason = reasonAgainstScheduler(standing, view, options)
  if (reason === undefined) return standing.rung === 'scheduler' ? standing : { rung: 'scheduler', sinceMs: view.nowMs }
  const to = (rung: Rung): Standing => ({ rung, reason, sinceMs: view.nowMs })
  if (reason === 'distrusted' || reason === 'swarm_failed') {
    return standing.rung === 'origin' && standing.reason === reason ? standing : to('origin')
  }
  switch (standing.rung) {
    case 'scheduler':
      return to('holders')
    case 'holders':
      if (!isSpent(standing, view, options.holdersMs, options.patienceMs)) return noted(standing, view)
      // While there is a scheduler, who fetches from the origin for all is its to say.
      return to(reason === 'no_scheduler' ? 'rendezvous' : 'origin')
    case 'rendezvous':
      return isSpent(standing, view, options.rendezvousMs, options.patienceMs) ? to('origin') : noted(standing, view)
    case 'origin':
      return standing
  }
}

/** Where a download stands when the origin failed it on the last rung; undefined: it has failed. */
export function standingAfterOriginFailed(standing: Standing, view: LadderView): Standing | undefined {
  return view.hasHope ? { ...standing, rung: 'holders', sinceMs: view.nowMs, hopeMs: view.nowMs } : undefined
}

function reasonAgainstScheduler(
  standing: Standing,
  view: LadderView,
  options: LadderOptions,
): FallbackReason | undefined {
  if (view.isSwarmDistrusted) return 'distrusted'
  if (view.hasSwarmFailed) return 'swarm_failed'
  if (view.disconnectedSinceMs !== undefined && view.nowMs - view.disconnectedSinceMs >= options.schedulerGraceMs) {
    return 'no_scheduler'
  }
  // What came on another way is no reason to wait again for a scheduler that gave nothing.
  if (standing.reason === 'no_progress') return 'no_progress'
  return view.nowMs - view.lastProgressMs >= options.patienceMs ? 'no_progress' : undefined
}

/** Whether a rung has nothing to give: at once when nobody was found who could, else when there was no hope for a while. */
function isSpent(standing: Standing, view: LadderView, budgetMs: number, patienceMs: number): boolean {
  const { nowMs } = view
  if (view.hasHope) return nowMs - Math.max(standing.sinceMs, view.lastProgressMs) >= patienceMs
  if (standing.hopeMs !== undefined) return nowMs - standing.hopeMs >= budgetMs
  return !view.isSearching || nowMs - standing.sinceMs >= budgetMs
}

function noted(standing: Standing, view: LadderView): Standing {
  return view.hasHope ? { ...standing, hopeMs: view.nowMs } : standing
}
