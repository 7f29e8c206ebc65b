/** A parent that sends nothing for so long is left where another one is at hand for the piece. */
export const QUIET_MS = 500
/** A parent that seems to be quiet gets this much longer: the event loop may have stood still, not the parent. */
export const SECOND_LOOK_MS = 50

/**
 * Calls `quiet` once, as soon as `quietMs` says that nothing came for half a second, and still says so at a second look.
 * Returns what ends the watch.
 */
export function watchForQuiet(quietMs: () => number, quiet: () => void): () => void {
  let timer: NodeJS.Timeout
  const look = (isSecond: boolean) => {
    const leftMs = QUIET_MS - quietMs()
    if (leftMs > 0) timer = setTimeout(look, Math.ceil(leftMs), false)
    else if (isSecond) quiet()
    else timer = setTimeout(look, SECOND_LOOK_MS, true)
  }
  look(false)
  return () => clearTimeout(timer)
}
