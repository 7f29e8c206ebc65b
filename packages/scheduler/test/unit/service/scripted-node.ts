import { type ClientDuplexStream, credentials, type ServiceError, status } from '@grpc/grpc-js'
import { PIECE_RULE } from '@shoal/core'
import {
  type ConnectRequest,
  type ConnectResponse,
  type Hello,
  type NodeCommand,
  type NodeEvent,
  NodeRole,
  Priority,
  SchedulerServiceClient,
} from '@shoal/proto'

type Event = Exclude<NodeEvent['event'], undefined>
type Command = Exclude<NodeCommand['command'], undefined>
type Case = Command['$case']
type ValueOf<C extends Case> = Extract<Command, { $case: C }>['value']

/** Ends of a stream: its gRPC status and message. */
interface End {
  readonly code: number
  readonly message: string
}

/** A node that says what the test tells it to say, and keeps what it is told until the test asks for it. */
export class ScriptedNode {
  readonly peerId: string
  readonly ended: Promise<End>
  /** All commands in the order in which they came. */
  readonly commands: Command[] = []
  /** Commands of each response. */
  readonly batches: number[] = []
  readonly #client: SchedulerServiceClient
  readonly #stream: ClientDuplexStream<ConnectRequest, ConnectResponse>
  #taken = new Set<Command>()
  #wake: () => void = () => {}

  constructor(address: string, peerId: string) {
    this.peerId = peerId
    this.#client = new SchedulerServiceClient(address, credentials.createInsecure(), {
      'grpc.use_local_subchannel_pool': 1,
    })
    this.#stream = this.#client.connect()
    this.#stream.on('data', (response: ConnectResponse) => {
      this.batches.push(response.commands.length)
      for (const { command } of response.commands) if (command !== undefined) this.commands.push(command)
      this.#wake()
    })
    this.ended = new Promise((resolve) => {
      this.#stream.on('error', (error: ServiceError) => resolve({ code: error.code, message: error.details }))
      this.#stream.on('end', () => resolve({ code: status.OK, message: '' }))
    })
  }

  hello(changes: Partial<Hello> = {}): this {
    return this.say({
      $case: 'hello',
      value: {
        peerId: this.peerId,
        name: 'test',
        role: NodeRole.PEER,
        laneHost: '',
        lanePort: 7411,
        multiaddrs: ['/ip4/127.0.0.1/tcp/7412'],
        uploadSlots: 16,
        downloadSlots: 16,
        labels: { zone: 'a' },
        version: '0.0.0',
        readsBatches: false,
        pieceRule: PIECE_RULE,
        ...changes,
      },
    })
  }

  join(digest: string, size: number, have: Uint8Array = new Uint8Array()): this {
    return this.say({
      $case: 'join',
      value: {
        digest,
        size,
        have: Buffer.from(have),
        origin: { registry: 'docker.io', repository: 'library/busybox' },
        priority: Priority.INTERACTIVE,
      },
    })
  }

  fromOrigin(swarm: number, piece: number, sha256: Uint8Array): this {
    return this.say({
      $case: 'pieceDone',
      value: { swarm, piece, parent: 0, sha256: Buffer.from(sha256), durationUs: 1 },
    })
  }

  /** Sends all events in one message. */
  say(...events: Event[]): this {
    this.#stream.write({ events: events.map((event) => ({ event })) })
    return this
  }

  /** The next command of this kind that was not asked for yet. */
  async next<C extends Case>(kind: C): Promise<ValueOf<C>> {
    for (;;) {
      const found = this.commands.find((command) => command.$case === kind && !this.#taken.has(command))
      if (found !== undefined) {
        this.#taken.add(found)
        return found.value as ValueOf<C>
      }
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }

  /** Stops reading. */
  pause(): void {
    this.#stream.pause()
  }

  /** Goes away without a word. */
  die(): void {
    this.#stream.cancel()
    this.#client.close()
  }
}
