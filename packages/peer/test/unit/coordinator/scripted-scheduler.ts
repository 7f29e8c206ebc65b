import { Server, ServerCredentials, type ServerDuplexStream } from '@grpc/grpc-js'
import { PIECE_RULE } from '@shoal/core'
import {
  type ConnectRequest,
  type ConnectResponse,
  type Hello,
  type NodeCommand,
  type NodeEvent,
  NodeRole,
  SchedulerServiceService,
} from '@shoal/proto'

type Stream = ServerDuplexStream<ConnectRequest, ConnectResponse>
export type Command = NonNullable<NodeCommand['command']>
type Event = NonNullable<NodeEvent['event']>

export const HELLO: Hello = {
  peerId: 'id',
  name: 'n',
  role: NodeRole.PEER,
  laneHost: '',
  lanePort: 1,
  multiaddrs: [],
  uploadSlots: 1,
  downloadSlots: 1,
  labels: {},
  version: '0',
  readsBatches: true,
  pieceRule: PIECE_RULE,
}

/** A scripted scheduler behind the real contract and a real socket. */
export class ScriptedScheduler {
  /** What it heard on all streams but pings, hello first: the kind of event, and swarm and piece where it names them. */
  readonly heard: string[] = []
  readonly events: Event[] = []
  readonly streams: Stream[] = []
  readsBatches = false
  pieceRule = PIECE_RULE
  /** Pings that it answered. */
  pings = 0
  uptimeMs = 0
  /** Whether hello is answered. */
  isPolite = true
  /** Whether a join, or a part held, is answered with the number 7. */
  namesSwarms = false
  port = 0
  #server = new Server()

  get address(): string {
    return `127.0.0.1:${this.port}`
  }

  /** @param port of before, to come back; 0: any */
  async start(port = this.port): Promise<void> {
    this.#server = new Server()
    this.#server.addService(SchedulerServiceService, {
      connect: (stream: Stream) => {
        this.streams.push(stream)
        stream.on('error', () => {})
        stream.on('data', ({ events }: ConnectRequest) => {
          for (const { event } of events) if (event !== undefined) this.#hear(event)
        })
      },
    })
    this.port = await new Promise((resolve, reject) => {
      this.#server.bindAsync(`127.0.0.1:${port}`, ServerCredentials.createInsecure(), (error, bound) =>
        error === null ? resolve(bound) : reject(error),
      )
    })
  }

  send(...commands: Command[]): void {
    this.streams.at(-1)?.write({ commands: commands.map((command) => ({ command })) })
  }

  /** Has the node fetch a piece from the parent with the number 3. */
  assign(digest: string, piece: number): void {
    this.send(
      { $case: 'swarm', value: { digest, swarm: 7, size: 100 } },
      {
        $case: 'parent',
        value: { parent: 3, peerId: 'p', laneHost: 'h', lanePort: 9, role: NodeRole.SEED, multiaddrs: ['/x'] },
      },
      { $case: 'assignment', value: { swarm: 7, piece, parent: 3, sha256: Buffer.alloc(32) } },
    )
  }

  /** Dies as a process does that is killed. */
  stop(): void {
    this.#server.forceShutdown()
  }

  #hear(event: Event): void {
    if (event.$case === 'ping') {
      this.pings++
      this.send({ $case: 'pong', value: {} })
      return
    }
    const { swarm, piece, digest } = event.value as { swarm?: number; piece?: number; digest?: string }
    this.events.push(event)
    this.heard.push([event.$case, swarm, piece].filter((word) => word !== undefined).join(' '))
    if (event.$case === 'hello' && this.isPolite) {
      const { readsBatches, uptimeMs } = this
      const value = {
        schedulerId: 's',
        bootstrap: ['/x'],
        readsBatches,
        uptimeMs,
        answersPings: true,
        hearsLeaseProgress: true,
        pieceRule: this.pieceRule,
      }
      this.send({ $case: 'welcome', value })
    }
    if (this.namesSwarms && digest !== undefined && (event.$case === 'join' || event.$case === 'holdingPart')) {
      this.send({ $case: 'swarm', value: { digest, swarm: 7, size: 100 } })
    }
  }
}
