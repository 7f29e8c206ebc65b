/*
 * Cancels a task in a worker thread. Piscina's own `signal` option ends a running task by terminating its whole
 * thread, with the upload server and every other task in it. A flag in shared memory reaches the one task, whether
 * it is queued, about to start or running.
 */

/** A new flag, not set, to send along with a task. */
export function createCancelFlag(): Int32Array<SharedArrayBuffer> {
  return new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT))
}

/** Sets the flag: the task's signal aborts. */
export function setCancelFlag(flag: Int32Array<SharedArrayBuffer>): void {
  Atomics.store(flag, 0, 1)
  Atomics.notify(flag, 0)
}

/** In the worker: runs `task` with a signal that aborts when the flag is set. */
export async function withCancelFlag<T>(
  flag: Int32Array<SharedArrayBuffer>,
  task: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController()
  const waiting = Atomics.waitAsync(flag, 0, 0)
  if (!waiting.async) {
    controller.abort()
  } else {
    void waiting.value.then(() => {
      if (Atomics.load(flag, 0) !== 0) controller.abort()
    })
  }
  try {
    return await task(controller.signal)
  } finally {
    // Wakes the wait above, which would be kept for ever otherwise.
    Atomics.notify(flag, 0)
  }
}
