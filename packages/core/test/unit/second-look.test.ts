import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { secondLook } from '../../src/second-look.ts'

const server = createServer((socket) => socket.end('x'))
afterEach(() => server.close())

it('comes after what had come is read, however late the thread is', async () => {
  await once(server.listen(0, '127.0.0.1'), 'listening')
  const order: string[] = []
  const socket = connect((server.address() as { port: number }).port, '127.0.0.1', () => {
    socket.on('data', () => order.push('data'))
    secondLook(() => order.push('look'))
    // The timer is due again and again before the thread gets to its sockets.
    const busyUntil = performance.now() + 200
    while (performance.now() < busyUntil) {}
  })
  await once(socket, 'close')
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(order).toEqual(['data', 'look'])
})

it('does not come when it is ended, before or after its timer', async () => {
  let looks = 0
  const end = secondLook(() => looks++)
  end()
  const later = secondLook(() => looks++)
  await new Promise<void>((resolve) =>
    setTimeout(() => {
      later()
      resolve()
    }, 50),
  )
  await new Promise((resolve) => setTimeout(resolve, 60))
  expect(looks).toBe(0)
})
