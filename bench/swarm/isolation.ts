import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'

const INSIDE = 'BENCH_ISOLATED'

/** Whether this process is the one that `runIsolated` started. */
export const isIsolated = process.env[INSIDE] !== undefined

/** Why links can not be shaped here; undefined: they can. */
export function whyNotShaped(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces exist on Linux only'
  if (process.getuid?.() !== 0) return 'not root'
  for (const [command, ...args] of [
    ['ip', '-V'],
    ['tc', '-V'],
    ['unshare', '--net', '--mount', '--pid', '--fork', 'true'],
  ] as const) {
    if (spawnSync(command, args, { stdio: 'ignore' }).status !== 0) return `${command} ${args.join(' ')} fails`
  }
  return undefined
}

/**
 * Runs this program again, with the same arguments, as the first process of network, mount and process namespaces of
 * its own: whichever way it ends, the kernel ends all processes it started and removes all links, namespaces and mounts
 * that it made. It is told the end of this process by the end of its standard input. Returns its exit code.
 */
export async function runIsolated(args: readonly string[]): Promise<number> {
  const unshare = ['--net', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc']
  const child = spawn('unshare', [...unshare, process.execPath, ...process.execArgv, ...args], {
    stdio: ['pipe', 'inherit', 'inherit'],
    env: { ...process.env, [INSIDE]: '1' },
  })
  // Ctrl-C reaches the whole process group; this process only waits for the other to clean up.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => child.stdin.end())
  const [code] = (await once(child, 'exit')) as [number | null]
  return code ?? 1
}
