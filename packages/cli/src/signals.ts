import { untilNpmIsGone } from './npm-parent.ts'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
/** Ctrl-C at a terminal reaches this process twice when npm started it: from the terminal, and passed on by npm. */
const SAME_SIGNAL_MS = 1000

/**
 * Resolves, with the reason, at the first SIGINT, SIGTERM or SIGHUP, or when the `shoal up` or the npm that started this
 * process is gone. After that, and when the process exits, a signal does what it does by default: ends the process at
 * once, also when the main thread is stuck.
 */
export function untilToldToStop(): Promise<string> {
  return new Promise((resolve) => {
    const ignore = () => {
      for (const signal of SIGNALS) process.off(signal, onSignal)
    }
    const onSignal = (signal: NodeJS.Signals) => {
      setTimeout(ignore, SAME_SIGNAL_MS).unref()
      resolve(signal)
    }
    for (const signal of SIGNALS) process.on(signal, onSignal)
    process.once('exit', ignore)
    process.once('disconnect', () => resolve('shoal up is gone'))
    void untilNpmIsGone(process.env).then(resolve)
  })
}
