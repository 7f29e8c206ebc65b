/** What decides whether a download goes to the origin on its own. Times in milliseconds of one clock. */
export interface FallbackView {
  readonly nowMs: number
  /** When the last piece arrived, or the download began. */
  readonly lastProgressMs: number
  /** Since when the scheduler is gone; undefined while it is there. */
  readonly disconnectedSinceMs: number | undefined
  /** The scheduler said that no node can get the blob. */
  readonly hasSwarmFailed: boolean
  /** The swarm gave bytes that have another digest than the blob: it is not asked again. */
  readonly isSwarmDistrusted: boolean
}

export type FallbackReason = 'no_scheduler' | 'swarm_failed' | 'distrusted' | 'no_progress'

/** Why a download is to fetch missing pieces from the origin on its own; undefined while the swarm is to do it. */
export function fallbackReason(
  view: FallbackView,
  options: { schedulerGraceMs: number; patienceMs: number },
): FallbackReason | undefined {
  if (view.isSwarmDistrusted) return 'distrusted'
  if (view.hasSwarmFailed) return 'swarm_failed'
  if (view.disconnectedSinceMs !== undefined && view.nowMs - view.disconnectedSinceMs >= options.schedulerGraceMs) {
    return 'no_scheduler'
  }
  return view.nowMs - view.lastProgressMs >= options.patienceMs ? 'no_progress' : undefined
}
