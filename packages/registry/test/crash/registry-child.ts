import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const CHILD = fileURLToPath(new URL('./child.ts', import.meta.url))

/** A registry in a process of its own; one at a time. */
export class RegistryChild {
  #process: ChildProcess | undefined

  /** Its URL. */
  async start(dataDir: string, options: object = {}): Promise<string> {
    const child = spawn(process.execPath, [CHILD, dataDir, JSON.stringify(options)], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    this.#process = child
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    return line
  }

  async kill(): Promise<void> {
    const victim = this.#process
    this.#process = undefined
    if (victim === undefined || victim.exitCode !== null || victim.signalCode !== null) return
    const gone = once(victim, 'exit')
    victim.kill('SIGKILL')
    await gone
  }
}
