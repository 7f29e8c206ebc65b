import { grown } from './flights.ts'
import { NODE_SLOTS, SlotAdaptation } from './slots.ts'

const FIRST_CAPACITY = 16

/** Weight of a new transfer in how long a node's transfers take. */
const TIME_WEIGHT = 1 / 8

/** What changes with every transfer about the live nodes, in flat arrays by the node's index. */
export class NodeTable {
  isSeed = new Uint8Array(FIRST_CAPACITY)
  /** Slots taken in all swarms together. */
  uploads = new Int32Array(FIRST_CAPACITY)
  downloads = new Int32Array(FIRST_CAPACITY)
  /** Slots that it has: those of its links, no more than it has announced, and none while it is paused. */
  uploadLimit = new Int32Array(FIRST_CAPACITY)
  downloadLimit = new Int32Array(FIRST_CAPACITY)
  /** Slots of an ordinary node, all swarms together: the most that one of its active swarms gives. */
  slots = new Int32Array(FIRST_CAPACITY)
  /** Rate of its link relative to the other nodes', so many times the slots as parent; above 1 for fast seeds only. */
  speed = new Float64Array(FIRST_CAPACITY)
  /** Swarms in which it takes part that somebody wants. */
  activeCount = new Int32Array(FIRST_CAPACITY)
  /** How long its transfers as parent and as child take, in milliseconds a byte; 0: not known. */
  sendMsPerByte = new Float64Array(FIRST_CAPACITY)
  receiveMsPerByte = new Float64Array(FIRST_CAPACITY)
  piecesSent = new Float64Array(FIRST_CAPACITY)
  piecesReceived = new Float64Array(FIRST_CAPACITY)
  readonly asChild = new SlotAdaptation()
  readonly asParent = new SlotAdaptation()

  /** Makes room for a node, or forgets the one that had its index. */
  reset(node: number, isSeed: boolean): void {
    if (node >= this.uploads.length) this.#grow(node + 1)
    this.isSeed[node] = isSeed ? 1 : 0
    this.uploads[node] = 0
    this.downloads[node] = 0
    this.uploadLimit[node] = 0
    this.downloadLimit[node] = 0
    this.slots[node] = NODE_SLOTS
    this.speed[node] = 1
    this.activeCount[node] = 0
    this.sendMsPerByte[node] = 0
    this.receiveMsPerByte[node] = 0
    this.piecesSent[node] = 0
    this.piecesReceived[node] = 0
    this.asChild.reset(node)
    this.asParent.reset(node)
  }

  canUpload(node: number): boolean {
    return (this.uploads[node] as number) < (this.uploadLimit[node] as number)
  }

  canDownload(node: number): boolean {
    return (this.downloads[node] as number) < (this.downloadLimit[node] as number)
  }

  /** Slots as parent of an ordinary node whose link is as fast. */
  parentSlots(node: number): number {
    return Math.round((this.slots[node] as number) * (this.speed[node] as number))
  }

  /** Takes how long a transfer between two nodes took. */
  took(parent: number, child: number, msPerByte: number): void {
    approach(this.sendMsPerByte, parent, msPerByte)
    approach(this.receiveMsPerByte, child, msPerByte)
  }

  /** How long a transfer between two nodes usually takes, as the slower one's others do; 0: not known. */
  usualMsPerByte(parent: number, child: number): number {
    return Math.max(this.sendMsPerByte[parent] as number, this.receiveMsPerByte[child] as number)
  }

  #grow(least: number): void {
    const capacity = Math.max(least, this.uploads.length * 2)
    this.isSeed = grown(this.isSeed, new Uint8Array(capacity))
    this.uploads = grown(this.uploads, new Int32Array(capacity))
    this.downloads = grown(this.downloads, new Int32Array(capacity))
    this.uploadLimit = grown(this.uploadLimit, new Int32Array(capacity))
    this.downloadLimit = grown(this.downloadLimit, new Int32Array(capacity))
    this.slots = grown(this.slots, new Int32Array(capacity))
    this.speed = grown(this.speed, new Float64Array(capacity))
    this.activeCount = grown(this.activeCount, new Int32Array(capacity))
    this.sendMsPerByte = grown(this.sendMsPerByte, new Float64Array(capacity))
    this.receiveMsPerByte = grown(this.receiveMsPerByte, new Float64Array(capacity))
    this.piecesSent = grown(this.piecesSent, new Float64Array(capacity))
    this.piecesReceived = grown(this.piecesReceived, new Float64Array(capacity))
  }
}

function approach(means: Float64Array, node: number, value: number): void {
  const mean = means[node] as number
  means[node] = mean + (mean === 0 ? 1 : TIME_WEIGHT) * (value - mean)
}
