import { LinkEnds } from './link-ends.ts'
import type { NodeInfo } from './nodes.ts'
import { NODE_SLOTS } from './slots.ts'
import { grown } from './tables.ts'

/** What a node says of its slots. */
type NodeSlots = Pick<NodeInfo, 'role' | 'uploadSlots' | 'downloadSlots'>

/** Values of `role`. */
export const NOT_UP = 0
const PEER = 1
export const SEED = 2

const FIRST_CAPACITY = 16

/** What events and the policy ask about the live nodes, in flat arrays by the node's index. */
export class NodeTable {
  role = new Uint8Array(FIRST_CAPACITY)
  /** Slots of an ordinary node, all swarms together: the most that one of its active swarms gives. */
  slots = new Uint8Array(FIRST_CAPACITY)
  /** Rate of its link relative to the other nodes', so many times the slots as parent; above 1 for fast seeds only. */
  speed = new Float64Array(FIRST_CAPACITY)
  /** Swarms in which it takes part that somebody wants. */
  activeCount = new Int32Array(FIRST_CAPACITY)
  /** Pieces that the node has sent and received since it came up. */
  sent = new Uint32Array(FIRST_CAPACITY)
  received = new Uint32Array(FIRST_CAPACITY)
  readonly asChild = new LinkEnds()
  readonly asParent = new LinkEnds()

  /** Makes room for a node. */
  reset(node: number, { role, uploadSlots, downloadSlots }: NodeSlots): void {
    if (node >= this.role.length) this.#grow(node + 1)
    this.role[node] = role === 'seed' ? SEED : PEER
    this.slots[node] = NODE_SLOTS
    this.speed[node] = 1
    this.activeCount[node] = 0
    this.sent[node] = 0
    this.received[node] = 0
    this.asChild.reset(node, downloadSlots)
    this.asParent.reset(node, uploadSlots)
  }

  /** The node is gone; its index may become another's. */
  forget(node: number): void {
    this.role[node] = NOT_UP
  }

  /** Slots as parent of an ordinary node whose link is as fast. */
  parentSlots(node: number): number {
    return this.speedily(node, this.slots[node] as number)
  }

  /** So many slots of an ordinary node are how many of this one as parent. */
  speedily(node: number, slots: number): number {
    return this.role[node] === SEED ? Math.round(slots * (this.speed[node] as number)) : slots
  }

  /** How long a transfer between two nodes usually takes, as the slower one's others do, in ms a byte; 0: not known. */
  usualMsPerByte(parent: number, child: number): number {
    return Math.max(this.asParent.msPerByte(parent), this.asChild.msPerByte(child))
  }

  #grow(least: number): void {
    const capacity = Math.max(least, this.role.length * 2)
    this.role = grown(this.role, new Uint8Array(capacity))
    this.slots = grown(this.slots, new Uint8Array(capacity))
    this.speed = grown(this.speed, new Float64Array(capacity))
    this.activeCount = grown(this.activeCount, new Int32Array(capacity))
    this.sent = grown(this.sent, new Uint32Array(capacity))
    this.received = grown(this.received, new Uint32Array(capacity))
  }
}
