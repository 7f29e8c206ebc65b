import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { text } from 'node:stream/consumers'
import { mountsUnder, unmountUnder } from './mounts.ts'
import { killProcessesNaming } from './process-table.ts'

/** A temporary folder, and with it the processes that name it and the mounts below it. */
export interface GuardedFolder {
  readonly path: string
  /** Ends the processes, unmounts, and removes the folder. */
  remove(): Promise<void>
}

/**
 * Makes a temporary folder that is removed even when the test runner is killed and no cleanup of a test runs: a
 * process of its own waits for the end of this one, and then does it. (A dockerd that nobody ends lives on for ever.)
 */
export async function makeGuardedFolder(): Promise<GuardedFolder> {
  const path = await mkdtemp('/tmp/shoal-')
  const guard = spawn(process.execPath, [import.meta.filename], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  // Told by its input, not its arguments: it must not itself be a process that names the folder.
  guard.stdin.write(path)
  guard.unref()
  return {
    path,
    remove: async () => {
      await removeFolder(path)
      const ended = once(guard, 'exit')
      guard.stdin.end()
      await ended
    },
  }
}

async function removeFolder(path: string): Promise<void> {
  await killProcessesNaming(path)
  await unmountUnder(path)
  // Never through a mount, into what is not the test's own.
  if ((await mountsUnder(path)).length === 0) await rm(path, { recursive: true, force: true, maxRetries: 5 })
}

if (import.meta.main) {
  // The pipe ends when the process that made the folder does, however it ends.
  const path = await text(process.stdin)
  if (path.startsWith('/tmp/shoal-')) await removeFolder(path)
}
