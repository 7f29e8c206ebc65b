import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'

/** A server that a test started. */
export interface ServerProcess {
  stop(): Promise<void>
}

/** One that is a single process, which can be told things. */
export interface ServerProgram extends ServerProcess {
  signal(name: NodeJS.Signals): void
}

/** A port of the loopback that nobody listens on at the moment. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

/** Starts a program, and kills it, and all that it started, on `stop`. */
export function startProgram(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): ServerProgram {
  const output: string[] = []
  const child: ChildProcess = spawn(program, args, {
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
    env: { ...process.env, ...env },
  })
  for (const stream of [child.stdout, child.stderr]) stream?.on('data', (bytes) => output.push(String(bytes)))
  const gone = once(child, 'exit')
  let isStopping = false
  gone.then(() => {
    if (!isStopping) process.stderr.write(`${program} ended by itself: ${output.join('').slice(-2000)}\n`)
  })
  return {
    signal: (name) => void child.kill(name),
    stop: async () => {
      isStopping = true
      if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGKILL')
      await gone
    },
  }
}

/** Waits until `url` answers, whatever it says. */
export async function untilAnswers(url: string, headers: Record<string, string> = {}): Promise<Response> {
  const deadline = Date.now() + 30_000
  for (;;) {
    try {
      const response = await fetch(url, { headers })
      if (response.status < 500) return response
    } catch (error) {
      if (Date.now() > deadline) throw error
    }
    if (Date.now() > deadline) throw new Error(`${url} is not ready after 30 s`)
    await wait(50)
  }
}
