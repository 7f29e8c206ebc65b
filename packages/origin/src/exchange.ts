/** Status and headers of an answer; header names in lower case. */
export interface ResponseHead {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

/** Who takes an answer. Called in order; whatever it throws ends the exchange, and `send` rejects with a ReceiverFault. */
export interface Receiver {
  onHead(head: ResponseHead): void
  /**
   * @returns false for "enough": the exchange ends well, and its connection is closed. Whoever answers later gets
   *   nothing more before: TCP slows the sender
   */
  onData(chunk: Buffer): boolean | Promise<boolean>
}

/** One HTTP request, without redirects. */
export interface Exchange {
  readonly url: URL
  readonly method: 'GET' | 'HEAD'
  readonly headers: Record<string, string>
  readonly signal: AbortSignal
  /** Deadline of the whole exchange; none for bodies whose length has no bound but that make progress. */
  readonly totalTimeoutMs?: number
}

/** Thrown when an exchange's `totalTimeoutMs` has passed. */
export class ExchangeTimeout extends Error {}

/** Thrown when an origin sends neither head nor body for too long. */
export class ExchangeStall extends Error {}

/** Carries, as its cause, what a receiver threw: whatever it is, it is no fault of the network. */
export class ReceiverFault extends Error {}
