import { createHash } from 'node:crypto'
import { HaveSet, MAX_PIECE_BYTES, MIN_PIECE_BYTES, PieceLayout } from '@shoal/core'
import type { LeaseCommand, LeaseFailure, TransferList } from '../../../src/core/commands.ts'
import { SchedulingCore } from '../../../src/core/core.ts'
import { ORIGIN } from '../../../src/core/events.ts'
import type { Limits } from '../../../src/core/limits.ts'
import type { NodeInfo, Role } from '../../../src/core/nodes.ts'
import { Random } from '../../../src/core/random.ts'
import type { Origin } from '../../../src/core/sources.ts'
import type { PieceFailure } from '../../../src/core/state.ts'

export const DIGEST = `sha256:${'a'.repeat(64)}`
export const OTHER_DIGEST = `sha256:${'b'.repeat(64)}`
export const THE_ORIGIN = { registry: 'docker.io', repository: 'library/busybox' }
const ASSIGNMENT_TIMEOUT_MS = 30_000

/** A size that is cut into so many pieces, or that is so much of one. */
export const sizeOf = (pieces: number) => pieces * (pieces <= 128 ? MIN_PIECE_BYTES : MAX_PIECE_BYTES)

export const shaOf = (digest: string, piece: number) => createHash('sha256').update(`${digest}${piece}`).digest()

function mapOf(digest: string, pieces: number): Uint8Array {
  return Buffer.concat(Array.from({ length: pieces }, (_, piece) => shaOf(digest, piece)))
}

interface Transfer {
  readonly at: number
  readonly beganAt: number
  readonly child: number
  readonly swarm: number
  readonly piece: number
  readonly parent: number
  /** Nothing comes of it: the core is to notice. */
  readonly isLost?: boolean
  /** Not the end of the transfer but the news that it is near. */
  readonly isNews?: boolean
}

interface Member {
  readonly index: number
  readonly name: string
  readonly role: Role
  readonly uploadSlots: number
  readonly downloadSlots: number
  isUp: boolean
  uploads: number
  downloads: number
  sent: number
  received: number
  /** What it says to a lease instead of fetching. */
  refuses?: LeaseFailure | 'silence'
  /** The same, by what the lease says. */
  finds?: (lease: LeaseCommand) => LeaseFailure | 'silence' | undefined
  /** What happens to transfers from it. */
  breaks?: PieceFailure | 'silence'
  /** What it answers when asked for a map. */
  map: 'right' | 'zeros' | 'silence'
  /** Pieces by digest. */
  readonly held: Map<string, Set<number>>
}

export interface Trace {
  readonly kind: string
  readonly fields: readonly unknown[]
}

/**
 * Nodes that do what the core says, each transfer in a fixed time, and that check every command against what they
 * know themselves: nobody is sent what it has, or by whom has it not, or over its slots.
 */
export class Cluster {
  readonly core: SchedulingCore
  readonly members = new Map<number, Member>()
  readonly trace: Trace[] = []
  readonly failures: { node: number; reason: string }[] = []
  readonly refusals: { node: number; reason: string }[] = []
  readonly leases: LeaseCommand[] = []
  readonly revoked: { at: number; node: number; swarm: number }[] = []
  readonly reassured: { at: number; node: number; swarm: number }[] = []
  now = 0
  /** Pieces sent once more because they hung. */
  hedges = 0
  /** Share of the transfers whose end is announced. */
  announces = 0
  readonly mostLeases: number
  readonly transferMs: number
  readonly originMs: number
  /** Pieces that the origin gave, by `swarm:piece`. */
  readonly originReads = new Map<string, number>()
  readonly #digests = new Map<number, { digest: string; pieces: number }>()
  #transfers: Transfer[] = []
  readonly #lastOf = new Map<number, number>()
  readonly #random: Random

  constructor(
    options: {
      seed?: number
      transferMs?: number
      originMs?: number
      leaseStallMs?: number
      mostLeases?: number
      leastLeaseRate?: number
      limits?: Partial<Limits>
    } = {},
  ) {
    this.#random = new Random((options.seed ?? 1) + 1000)
    this.mostLeases = options.mostLeases ?? Number.POSITIVE_INFINITY
    this.transferMs = options.transferMs ?? 100
    this.originMs = options.originMs ?? 10
    this.core = new SchedulingCore(
      {
        leaseStallMs: options.leaseStallMs ?? 10_000,
        assignmentTimeoutMs: ASSIGNMENT_TIMEOUT_MS,
        mostLeases: this.mostLeases,
        leastLeaseRate: options.leastLeaseRate ?? 0,
        ...(options.limits === undefined ? {} : { limits: options.limits }),
      },
      new Random(options.seed ?? 1),
    )
  }

  up(
    name: string,
    role: Role = 'peer',
    slots = 64,
    labels: Record<string, string> = {},
    reach: Pick<NodeInfo, 'isLocal' | 'isConfined'> = {},
  ): Member {
    this.core.setTime(this.now)
    const index = this.core.nodeUp({ id: name, role, uploadSlots: slots, downloadSlots: slots, labels, ...reach })
    if (this.members.get(index)?.isUp === true) throw new Error(`two live nodes have the index ${index}`)
    const member: Member = {
      index,
      name,
      role,
      uploadSlots: slots,
      downloadSlots: slots,
      isUp: true,
      uploads: 0,
      downloads: 0,
      sent: 0,
      received: 0,
      map: 'right',
      held: new Map(),
    }
    this.members.set(index, member)
    return member
  }

  down(member: Member): void {
    if (!member.isUp) return
    member.isUp = false
    for (const transfer of this.#transfers.filter((t) => t.child === member.index || t.parent === member.index)) {
      this.#end(transfer)
    }
    this.core.setTime(this.now)
    this.core.nodeDown(member.index)
  }

  join(
    member: Member,
    pieces: number,
    digest = DIGEST,
    have: readonly number[] = [],
    priority = 1,
    { origin = THE_ORIGIN, sizeBytes = sizeOf(pieces) }: { origin?: Origin; sizeBytes?: number } = {},
  ): number {
    const layout = new PieceLayout(sizeBytes)
    const set = new HaveSet(layout.count)
    for (const piece of have) set.add(piece)
    this.core.setTime(this.now)
    const swarm = this.core.join(member.index, {
      digest,
      sizeBytes,
      have: set,
      origin,
      priority,
    })
    this.#digests.set(swarm, { digest, pieces: layout.count })
    member.held.set(digest, new Set(have))
    return swarm
  }

  holdingPart(member: Member, pieces: number, digest: string, have: readonly number[]): void {
    const set = new HaveSet(new PieceLayout(sizeOf(pieces)).count)
    for (const piece of have) set.add(piece)
    this.core.setTime(this.now)
    const swarm = this.core.holdingPart(member.index, digest, sizeOf(pieces), set)
    this.#digests.set(swarm, { digest, pieces })
    member.held.set(digest, new Set(have))
  }

  holding(member: Member, pieces: number, digest = DIGEST): void {
    this.core.setTime(this.now)
    this.core.holding(member.index, digest, sizeOf(pieces))
    member.held.set(digest, new Set(Array.from({ length: Math.ceil(pieces) }, (_, i) => i)))
    this.#cancel(member.index, this.core.blobs.of(digest)[0]?.swarm?.id)
  }

  leave(member: Member, digest = DIGEST): void {
    const swarm = this.core.blobs.of(digest)[0]?.swarm?.id
    this.core.setTime(this.now)
    this.core.leave(member.index, digest)
    this.#cancel(member.index, swarm)
  }

  /** Has all that is under way to a node fail. */
  failAll(to: Member, swarm: number, reason: PieceFailure): void {
    this.core.setTime(this.now)
    for (const transfer of this.#transfers.filter((t) => t.child === to.index && t.parent !== ORIGIN)) {
      this.#end(transfer)
      if (transfer.isNews !== true) this.core.pieceFailed(to.index, swarm, transfer.piece, transfer.parent, reason)
    }
  }

  hasAll(member: Member, swarm: number): boolean {
    const { digest, pieces } = this.#blob(swarm)
    return member.held.get(digest)?.size === pieces
  }

  /** Runs until nothing is due, or until `stop` says so, or `mostMs` are over. */
  run(mostMs = 600_000, stop: () => boolean = () => false): void {
    const end = this.now + mostMs
    for (;;) {
      this.tick()
      if (stop()) return
      const next = Math.min(
        this.#transfers[0]?.at ?? Number.POSITIVE_INFINITY,
        this.core.dueAt() ?? Number.POSITIVE_INFINITY,
      )
      if (next === Number.POSITIVE_INFINITY) return
      if (next > end) return
      this.now = Math.max(this.now, next)
      this.core.setTime(this.now)
      while ((this.#transfers[0]?.at ?? Number.POSITIVE_INFINITY) <= this.now)
        this.#finish(this.#transfers[0] as Transfer)
    }
  }

  tick(): void {
    this.core.setTime(this.now)
    const commands = this.core.tick()
    // What is given up in a tick may be assigned anew in it.
    const { cancellations } = commands
    for (let at = 0; at < cancellations.count; at++) {
      const [child, swarm, piece, parent] = transferAt(cancellations, at)
      this.#cancelWhere((t) => t.child === child && t.swarm === swarm && t.piece === piece && t.parent === parent)
    }
    const { assignments } = commands
    for (let at = 0; at < assignments.count; at++) {
      const [child, swarm, piece, parent] = transferAt(assignments, at)
      this.#assigned(child, swarm, piece, parent)
    }
    for (const lease of [...commands.leases]) {
      this.trace.push({ kind: 'lease', fields: [lease.node, lease.swarm, lease.firstPiece, lease.pieceCount] })
      this.leases.push(lease)
      this.#leased(lease)
    }
    for (const { node, digest } of [...commands.maps]) {
      this.trace.push({ kind: 'map', fields: [node, digest] })
      this.#asked(this.#member(node), digest)
    }
    for (const { node, swarm } of commands.revocations) this.revoked.push({ at: this.now, node, swarm })
    for (const { node, swarm } of commands.reassurances) this.reassured.push({ at: this.now, node, swarm })
    this.refusals.push(...commands.refusals)
    for (const { node, swarm, reason } of commands.failures) {
      this.trace.push({ kind: 'failed', fields: [node, reason] })
      this.failures.push({ node, reason })
      this.#cancel(node, swarm)
    }
  }

  #assigned(child: number, swarm: number, piece: number, parent: number): void {
    this.trace.push({ kind: 'assign', fields: [child, swarm, piece, parent] })
    const to = this.#member(child)
    const from = this.#member(parent)
    const key = `${swarm}:${piece}`
    if (to === from) throw new Error(`${to.name} is its own parent`)
    if (this.#holds(to, swarm).has(piece)) throw new Error(`${to.name} already has ${key}`)
    if (!this.#holds(from, swarm).has(piece)) throw new Error(`${from.name} does not hold ${key}`)
    const { digest } = this.#blob(swarm)
    if (!shaOf(digest, piece).equals(this.core.sha256(swarm, piece))) throw new Error(`wrong sha256 for ${key}`)
    const copies = this.#transfers.filter(
      (t) => t.isNews !== true && t.child === child && t.swarm === swarm && t.piece === piece,
    )
    if (copies.some((t) => t.parent === parent)) throw new Error(`${key} is already on its way from ${from.name}`)
    if (copies.length > 2) throw new Error(`${key} is on its way to ${to.name} more than three times`)
    to.downloads++
    from.uploads++
    this.hedges += copies.length
    if (from.breaks === 'silence') {
      this.#schedule({
        at: this.now + ASSIGNMENT_TIMEOUT_MS,
        beganAt: this.now,
        child,
        swarm,
        piece,
        parent,
        isLost: true,
      })
      return
    }
    const at = this.now + this.transferMs * (0.9 + 0.2 * this.#random.unit())
    const transfer = { at, beganAt: this.now, child, swarm, piece, parent }
    this.#schedule(transfer)
    if (this.#random.unit() < this.announces)
      this.#schedule({ ...transfer, at: at - this.transferMs / 10, isNews: true })
  }

  #leased(lease: LeaseCommand): void {
    const { node, swarm, firstPiece: first, pieceCount: count } = lease
    const member = this.#member(node)
    const refusal = member.refuses ?? member.finds?.(lease)
    if (refusal === 'silence') return
    if (refusal !== undefined) {
      this.core.leaseFailed(node, swarm, refusal)
      return
    }
    let at = Math.max(this.now, this.#lastOf.get(node) ?? 0)
    for (let piece = first; piece < first + count; piece++) {
      at += this.originMs
      this.#schedule({ at, beganAt: this.now, child: node, swarm, piece, parent: ORIGIN })
    }
    this.#lastOf.set(node, at)
  }

  #asked(member: Member, digest: string): void {
    const swarm = this.core.blobs.of(digest)[0]?.swarm
    if (member.map === 'silence' || swarm === undefined) return
    const map = member.map === 'right' ? mapOf(digest, swarm.pieces) : new Uint8Array(swarm.pieces * 32)
    this.core.pieceMap(member.index, digest, swarm.layout.size, map)
  }

  #finish(transfer: Transfer): void {
    const { child, swarm, piece, parent, beganAt } = transfer
    this.#end(transfer)
    if (transfer.isLost === true) return
    if (transfer.isNews === true) {
      this.core.pieceEnding(child, swarm, piece, parent)
      return
    }
    const to = this.#member(child)
    const { digest } = this.#blob(swarm)
    if (parent === ORIGIN) {
      const key = `${swarm}:${piece}`
      this.originReads.set(key, (this.originReads.get(key) ?? 0) + 1)
      this.#holds(to, swarm).add(piece)
      this.core.pieceDone(child, swarm, piece, ORIGIN, shaOf(digest, piece))
      return
    }
    const from = this.#member(parent)
    if (from.breaks !== undefined && from.breaks !== 'silence') {
      // Who says that it does not hold a piece has lost it.
      if (from.breaks === 'not_held') this.#holds(from, swarm).delete(piece)
      this.core.pieceFailed(child, swarm, piece, parent, from.breaks)
      return
    }
    from.sent++
    to.received++
    this.#holds(to, swarm).add(piece)
    this.#cancelWhere((t) => t.child === child && t.swarm === swarm && t.piece === piece && t.parent !== ORIGIN)
    this.core.pieceDone(child, swarm, piece, parent, undefined, this.now - beganAt)
  }

  #end(transfer: Transfer): void {
    this.#transfers = this.#transfers.filter((t) => t !== transfer)
    if (transfer.parent === ORIGIN || transfer.isNews === true) return
    const to = this.members.get(transfer.child)
    const from = this.members.get(transfer.parent)
    if (to !== undefined) {
      to.downloads--
    }
    if (from !== undefined) from.uploads--
  }

  /** The node gives up what is on its way to it from other nodes. */
  #cancel(child: number, swarm: number | undefined): void {
    this.#cancelWhere((t) => t.child === child && t.swarm === swarm && t.parent !== ORIGIN)
  }

  #cancelWhere(is: (transfer: Transfer) => boolean): void {
    for (const transfer of this.#transfers.filter(is)) this.#end(transfer)
  }

  #blob(swarm: number): { digest: string; pieces: number } {
    const blob = this.#digests.get(swarm)
    if (blob === undefined) throw new Error(`swarm ${swarm} was never joined`)
    return blob
  }

  #holds(member: Member, swarm: number): Set<number> {
    const { digest } = this.#blob(swarm)
    let held = member.held.get(digest)
    if (held === undefined) {
      held = new Set()
      member.held.set(digest, held)
    }
    return held
  }

  #schedule(transfer: Transfer): void {
    let low = 0
    let high = this.#transfers.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#transfers[middle] as Transfer).at <= transfer.at) low = middle + 1
      else high = middle
    }
    this.#transfers.splice(low, 0, transfer)
  }

  #member(index: number): Member {
    const member = this.members.get(index)
    if (member?.isUp !== true) throw new Error(`the core speaks of node ${index}, which is not up`)
    return member
  }
}

function transferAt(list: TransferList, at: number): [child: number, swarm: number, piece: number, parent: number] {
  return [list.child(at), list.swarm(at), list.piece(at), list.parent(at)]
}
