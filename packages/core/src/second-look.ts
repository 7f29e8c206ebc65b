/** Somebody who seems to be silent gets this much longer: the event loop may have stood still, not they. */
const AGAIN_MS = 50

/**
 * Calls `look` once, shortly after now, and not before what had come by then has been read: a timer alone may fire again
 * before its thread reads its sockets, where the process gets little CPU. Returns what ends the wait.
 */
export function secondLook(look: () => void): () => void {
  let reads: NodeJS.Immediate | undefined
  const timer = setTimeout(() => {
    reads = setImmediate(look)
  }, AGAIN_MS)
  return () => {
    clearTimeout(timer)
    clearImmediate(reads)
  }
}
