import { connect } from 'node:net'

/** A node's kernel answers at once, however busy the node is. */
const DEADLINE_MS = 500
/** The event loop may have stood still, not the network: what came meanwhile is read before this has passed. */
const SECOND_LOOK_MS = 50

/**
 * Finds out whether a TCP port can be reached, whatever its process does; calls `closed` once when it can not within
 * about half a second. Returns what ends the search.
 */
export function probeReach({ host, port }: { host: string; port: number }, closed: () => void): () => void {
  const socket = connect({ host, port })
  const end = () => {
    clearTimeout(timer)
    socket.destroy()
  }
  const giveUp = () => {
    clearTimeout(timer)
    timer = setTimeout(() => {
      end()
      closed()
    }, SECOND_LOOK_MS)
  }
  let timer = setTimeout(giveUp, DEADLINE_MS)
  socket.once('connect', end)
  socket.once('error', giveUp)
  return end
}
