import { connect } from 'node:net'

/** A node's kernel answers at once, however busy the node is. */
const DEADLINE_MS = 500
/** The event loop may have stood still, not the network: what came meanwhile is read before this has passed. */
const SECOND_LOOK_MS = 50

/**
 * Finds out whether a TCP port can be reached, whatever its process does, within about half a second; tells `ended`
 * once. Returns what ends the search without a word.
 */
export function probeReach(
  { host, port }: { readonly host: string; readonly port: number },
  ended: (isReached: boolean) => void,
): () => void {
  const socket = connect({ host, port })
  const end = () => {
    clearTimeout(timer)
    socket.destroy()
  }
  const settle = (isReached: boolean) => {
    end()
    ended(isReached)
  }
  const giveUp = () => {
    clearTimeout(timer)
    timer = setTimeout(settle, SECOND_LOOK_MS, false)
  }
  let timer = setTimeout(giveUp, DEADLINE_MS)
  socket.once('connect', () => settle(true))
  socket.once('error', giveUp)
  return end
}
