/*
 * Cancels a task in a worker thread, or hurries it. Piscina's own `signal` option ends a running task by terminating its
 * whole thread, with the upload server and every other task in it. A flag in shared memory reaches the one task, whether
 * it is queued, about to start or running.
 */

const HURRY = 1
const CANCEL = 2

/** A new flag, not set, to send along with a task. */
export function createCancelFlag(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
}

/** Sets the flag: the task's signal aborts. */
export function setCancelFlag(flag: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(flag, 0, CANCEL)
  Atomics.notify(flag, 0)
}

/** Sets the flag to less than a cancel: the task's second signal aborts. */
export function setHurryFlag(flag: Int32Array<SharedArrayBuffer>): void {
  Atomics.compareExchange(flag, 0, 0, HURRY)
  Atomics.notify(flag, 0)
}

/** In the worker: runs `task` with a signal that aborts when the flag is set, and one for when it is to hurry. */
export async function withCancelFlag<T>(
  flag: Int32Array<SharedArrayBuffer>,
  task: (signal: AbortSignal, hurry: AbortSignal) => Promise<T>,
): Promise<T> {
  const cancelling = new AbortController()
  const hurrying = new AbortController()
  let isOver = false
  const look = () => {
    while (!isOver) {
      const seen = Atomics.load(flag, 0)
      if (seen !== 0) hurrying.abort()
      if (seen === CANCEL) {
        cancelling.abort()
        return
      }
      const waiting = Atomics.waitAsync(flag, 0, seen)
      if (!waiting.async) continue
      void waiting.value.then(look)
      return
    }
  }
  look()
  try {
    return await task(cancelling.signal, hurrying.signal)
  } finally {
    isOver = true
    // Wakes the wait above, which would be kept for ever otherwise.
    Atomics.notify(flag, 0)
  }
}
