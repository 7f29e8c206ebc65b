/** A process of simulated nodes, started by `bench/scheduler.ts`: each has a gRPC stream of its own. */
import { createHash } from 'node:crypto'
import { GrpcConnection } from './grpc-connection.ts'
import { SimulatedNode } from './simulated-node.ts'
import type { Answer, NodesPlan, Order } from './talk.ts'

/** Streams that are being opened at once. */
const OPENING = 200

const plan = JSON.parse(process.argv[2] ?? '') as NodesPlan
const digests = Array.from({ length: plan.pieces }, (_, piece) => createHash('sha256').update(`${piece}`).digest())
const connections: GrpcConnection[] = []
const nodes: SimulatedNode[] = []
let welcomed = 0
let finished = 0
const shared = {
  plan,
  sha256: (piece: number) => digests[piece] as Buffer,
  welcomed: () => {
    welcomed++
    open()
    if (welcomed === plan.nodes) answer()
  },
  finished: () => {
    if (++finished === plan.nodes) setTimeout(answer, 2 * plan.tickMs)
  },
  failed: (error: Error) => {
    process.stderr.write(`a simulated node: ${error.message}\n`)
    process.exit(1)
  },
}

function open(): void {
  while (nodes.length < plan.nodes && nodes.length - welcomed < OPENING) {
    const at = nodes.length % plan.connections
    const connection = connections[at] ?? new GrpcConnection(plan.scheduler)
    connections[at] = connection
    nodes.push(new SimulatedNode(connection, plan.first + nodes.length, shared))
  }
}

function answer(): void {
  let [sent, received] = [0, 0]
  for (const node of nodes) {
    sent += node.sent
    received += node.received
  }
  process.send?.({ sent, received } satisfies Answer)
}

process.on('disconnect', () => process.exit(0))
process.on('message', (order: Order) => {
  if (order === 'connect') {
    open()
  } else {
    finished = 0
    for (const node of nodes) node.join(order)
  }
})
setInterval(() => {
  for (const node of nodes) node.flush()
}, plan.tickMs)
