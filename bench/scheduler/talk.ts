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
  readonly pieces: number
}

/** A blob that all nodes of a run are to want. */
export interface BenchBlob {
  readonly digest: string
  readonly sizeBytes: number
}

/** What the benchmark asks for: all nodes connect, then all get one blob after the other. Answered when it is so. */
export type Order = 'connect' | BenchBlob

/** An answer to an order. */
export interface Answer {
  /** Messages so far, of all its nodes. */
  readonly sent: number
  readonly received: number
}
