import { secondLook } from '@shoal/core'

/** A parent that sends nothing for so long is left where another one is at hand for the piece. */
const QUIET_MS = 500

/**
 * Calls `quiet` once, as soon as `leftQuietMs` says that nothing came for too long, and still says so at a second look. Returns
 * what ends the watch.
 * @param leftQuietMs how much longer nothing may come, if on a fast link it may for so long; 0 or less: no longer
 */
export function watchForQuiet(leftQuietMs: (ms: number) => number, quiet: () => void): () => void {
  let end: () => void
  const look = (isSecond: boolean) => {
    const leftMs = leftQuietMs(QUIET_MS)
    if (leftMs > 0) {
      const timer = setTimeout(look, Math.ceil(leftMs), false)
      end = () => clearTimeout(timer)
    } else if (isSecond) quiet()
    else end = secondLook(() => look(true))
  }
  look(false)
  return () => end()
}
