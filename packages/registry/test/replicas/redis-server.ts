import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { freePort, type ServerProgram, startProgram } from '../stores/server.ts'

/** A running Redis, which keeps all in memory. */
export interface RedisServer {
  readonly url: string
  /** Kills it. */
  stop(): Promise<void>
  /** Starts it again, empty, where it was. */
  start(): Promise<void>
  /** Has it hang, or go on. */
  signal(name: 'SIGSTOP' | 'SIGCONT'): void
}

export async function startRedis(program: string, password = ''): Promise<RedisServer> {
  const port = await freePort()
  let server: ServerProgram | undefined
  const start = async () => {
    const settings = ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no']
    server = startProgram(program, [...settings, ...(password === '' ? [] : ['--requirepass', password])])
    await untilListens(port)
  }
  const stop = async () => {
    const running = server
    server = undefined
    await running?.stop()
  }
  await start()
  const signal = (name: 'SIGSTOP' | 'SIGCONT') => server?.signal(name)
  return { url: `redis://127.0.0.1:${port}`, start, stop, signal }
}

async function untilListens(port: number): Promise<void> {
  for (let left = 200; ; left--) {
    const socket = connect(port, '127.0.0.1')
    try {
      await once(socket, 'connect')
      return
    } catch (error) {
      if (left === 0) throw error
      await wait(25)
    } finally {
      socket.destroy()
    }
  }
}
