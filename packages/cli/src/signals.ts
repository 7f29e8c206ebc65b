const SIGNALS = ['SIGINT', 'SIGTERM'] as const

/**
 * Resolves, with the reason, at the first SIGINT or SIGTERM, or when the `shoal up` that started this process is gone.
 * A second signal ends the process at once.
 */
export function untilToldToStop(): Promise<string> {
  return new Promise((resolve) => {
    let isSecond = false
    const onSignal = (signal: NodeJS.Signals) => {
      if (isSecond) process.exit(130)
      isSecond = true
      resolve(signal)
    }
    for (const signal of SIGNALS) process.on(signal, onSignal)
    process.once('disconnect', () => resolve('shoal up is gone'))
  })
}
