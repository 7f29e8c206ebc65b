const LOOK_MS = 500
/** What npm calls what `npm start`, `npm run shoal` and `npx` run. */
const SCRIPTS: ReadonlySet<string | undefined> = new Set(['start', 'shoal', 'npx'])

/**
 * Resolves, with the reason, when the npm that started this process is gone without passing a signal on: killed, or
 * ended with its terminal. Never resolves when npm did not start it.
 */
export function untilNpmIsGone(environment: Readonly<Record<string, string | undefined>>): Promise<string> {
  return new Promise((resolve) => {
    if (!SCRIPTS.has(environment.npm_lifecycle_event)) return
    const parent = process.ppid
    const timer = setInterval(() => {
      if (process.ppid === parent) return
      clearInterval(timer)
      resolve('npm is gone')
    }, LOOK_MS)
    timer.unref()
  })
}
