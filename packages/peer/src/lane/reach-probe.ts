import { connect } from 'node:net'
import { secondLook } from '@shoal/core'

/** A node's kernel answers at once, however busy the node is. */
const DEADLINE_MS = 500

/**
 * Finds out whether a TCP port can be reached, whatever its process does, within about half a second; tells `ended`
 * once. Returns what ends the search without a word.
 */
export function probeReach(
  { host, port }: { readonly host: string; readonly port: number },
  ended: (isReached: boolean) => void,
): () => void {
  const socket = connect({ host, port })
  let endSecondLook: (() => void) | undefined
  const end = () => {
    clearTimeout(timer)
    endSecondLook?.()
    socket.destroy()
  }
  const settle = (isReached: boolean) => {
    end()
    ended(isReached)
  }
  const giveUp = () => {
    clearTimeout(timer)
    endSecondLook ??= secondLook(() => settle(false))
  }
  const timer = setTimeout(giveUp, DEADLINE_MS)
  socket.once('connect', () => settle(true))
  socket.once('error', giveUp)
  return end
}
