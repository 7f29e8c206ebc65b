import { getPriority, setPriority } from 'node:os'

/** Added to the nice value: the other thread then has a core that both want three times as long. */
const NICER_BY = 5
const NICEST = 19

/**
 * Has the calling worker thread wait for the main thread where cores are scarce: that one answers clients and the
 * scheduler, which takes little, and is late for all when it waits for its turn. Only on Linux: threads have no priority
 * of their own elsewhere. Without the right to it the thread goes on as it is.
 */
export function letMainThreadGoFirst(): void {
  if (process.platform !== 'linux') return
  try {
    // 0 is the calling thread there, whatever POSIX says. Source: setpriority(2), "C library/kernel differences".
    setPriority(0, Math.min(NICEST, getPriority(0) + NICER_BY))
  } catch {
    // A sandbox may forbid it.
  }
}
