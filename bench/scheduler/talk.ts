/** What a process of simulated nodes is told when it is started. */
export interface NodesPlan {
  /** `host:port` of the scheduler's gRPC. */
  readonly scheduler: string
  /** Number of its first node among all of the run. */
  readonly first: number
  readonly nodes: number
  /** HTTP/2 connections that its nodes' streams share. */
  readonly connections: number
  /** Milliseconds in which a node sends one message at the most. */
  readonly tickMs: number
  readonly digest: string
  readonly sizeBytes: number
  readonly pieces: number
}

/** What the benchmark asks for, in this order, and what the process answers when it is so. */
export type Order = 'connect' | 'join'

/** An answer to an order. */
export interface Answer {
  readonly order: Order
  /** Messages so far, of all its nodes. */
  readonly sent: number
  readonly received: number
}
