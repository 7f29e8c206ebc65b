import { ConnectResponse, type NodeCommand } from '@shoal/proto'
import { SHA256_BYTES } from '../core/swarm.ts'
import { assignmentsResponse } from './assignments-bytes.ts'

/** Commands in one response, as the contract bounds them. */
const MOST_COMMANDS = 10_000
/** Bytes of one response, if a single command is not longer. */
const MOST_BYTES = 64 * 1024

type Command = NonNullable<NodeCommand['command']>

/** A command as bytes: a response of its own. Responses one after another are one response that holds all they hold. */
export function encoded(command: Command): Buffer {
  const { buffer, byteOffset, byteLength } = ConnectResponse.encode({ commands: [{ command }] }).finish()
  return Buffer.from(buffer, byteOffset, byteLength)
}

/**
 * What waits to be said to one node, already as bytes. Pieces of one swarm that are assigned one after another become
 * one command; a swarm that is to be named twice is named once, and one pong answers all pings.
 */
export class Outbox {
  readonly #readsBatches: boolean
  #commands: Buffer[] = []
  #bytes = 0
  /** Swarms whose number is in `#commands`, and nothing after it that ends what was asked for. */
  readonly #named = new Set<number>()
  /** Whether a pong is in `#commands`. */
  #hasPong = false
  /** Pieces assigned since the last other command: of one swarm, whose digests are these. */
  #swarm = 0
  #digests: Uint8Array = new Uint8Array()
  #pieces: number[] = []
  #parents: number[] = []

  /** @param readsBatches whether the node understands several assignments in one command */
  constructor(readsBatches: boolean) {
    this.#readsBatches = readsBatches
  }

  get isEmpty(): boolean {
    return this.#commands.length === 0 && this.#pieces.length === 0
  }

  /** Bytes that wait, without the pieces assigned last. */
  get bytes(): number {
    return this.#bytes
  }

  /** Adds a command. */
  add(command: Command): void {
    if (command.$case === 'swarm') {
      if (this.#named.has(command.value.swarm)) return
      this.#named.add(command.value.swarm)
    } else if (command.$case === 'swarmFailed') this.#named.delete(command.value.swarm)
    else if (command.$case === 'pong') {
      if (this.#hasPong) return
      this.#hasPong = true
    }
    this.#closeBatch()
    this.#push(encoded(command))
  }

  /** Adds the introduction of a parent, before the pieces assigned last. */
  introduce(parent: Buffer): void {
    this.#push(parent)
  }

  /**
   * Adds an assignment.
   * @param parent its number on the stream
   * @param digests sha256 of every piece of the swarm, one after another; read before the next tick
   */
  assign(swarm: number, piece: number, parent: number, digests: Uint8Array): void {
    if (this.#swarm !== swarm) this.#closeBatch()
    this.#swarm = swarm
    this.#digests = digests
    this.#pieces.push(piece)
    this.#parents.push(parent)
    if (!this.#readsBatches) this.#closeBatch()
  }

  /** The end of a tick: what was assigned in it is a command from now on. */
  seal(): void {
    this.#closeBatch()
  }

  /** Takes the next response out, if anything waits. */
  take(): Buffer | undefined {
    this.#closeBatch()
    const commands = this.#commands
    let [count, bytes] = [0, 0]
    for (; count < commands.length && count < MOST_COMMANDS; count++) {
      const length = (commands[count] as Buffer).byteLength
      if (count > 0 && bytes + length > MOST_BYTES) break
      bytes += length
    }
    if (count === 0) return undefined
    const response = joined(commands, count, bytes)
    this.#commands = count === commands.length ? [] : commands.slice(count)
    this.#bytes -= bytes
    if (this.#commands.length === 0) {
      this.#named.clear()
      this.#hasPong = false
    }
    return response
  }

  #closeBatch(): void {
    if (this.#pieces.length === 0) return
    const swarm = this.#swarm
    const [pieces, parents] = [this.#pieces, this.#parents]
    this.#pieces = []
    this.#parents = []
    if (this.#readsBatches) {
      this.#push(assignmentsResponse(swarm, pieces, parents, this.#digests))
      return
    }
    const [piece, parent] = [pieces[0] as number, parents[0] as number]
    const sha256 = Buffer.from(this.#digests.subarray(piece * SHA256_BYTES, (piece + 1) * SHA256_BYTES))
    this.#push(encoded({ $case: 'assignment', value: { swarm, piece, parent, sha256 } }))
  }

  #push(command: Buffer): void {
    this.#commands.push(command)
    this.#bytes += command.byteLength
  }
}

/** The first `count` of the parts, one after another. Mostly there is one: what a tick assigned. */
function joined(parts: readonly Buffer[], count: number, bytes: number): Buffer {
  if (count === 1) return parts[0] as Buffer
  const whole = Buffer.allocUnsafe(bytes)
  for (let i = 0, at = 0; i < count; i++) {
    const part = parts[i] as Buffer
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}
