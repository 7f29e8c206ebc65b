/** A parent that sends nothing for so long is left where another one is at hand for the piece. */
const QUIET_MS = 500
/** A parent that seems to be quiet gets this much longer: the event loop may have stood still, not the parent. */
export const SECOND_LOOK_MS = 50

/**
 * Calls `quiet` once, as soon as `leftQuietMs` says that nothing came for too long, and still says so at a second look. Returns
 * what ends the watch.
 * @param leftQuietMs how much longer nothing may come, if on a fast link it may for so long; 0 or less: no longer
 */
export function watchForQuiet(leftQuietMs: (ms: number) => number, quiet: () => void): () => void {
  let timer: NodeJS.Timeout
  const look = (isSecond: boolean) => {
    const leftMs = leftQuietMs(QUIET_MS)
    if (leftMs > 0) timer = setTimeout(look, Math.ceil(leftMs), false)
    else if (isSecond) quiet()
    else timer = setTimeout(look, SECOND_LOOK_MS, true)
  }
  look(false)
  return () => clearTimeout(timer)
}
