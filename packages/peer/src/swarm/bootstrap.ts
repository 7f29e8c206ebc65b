import { type Logger, type pause, type Startable, withDeadline } from '@shoal/core'
import { chooseSome } from './choose-some.ts'
import { type LookUp, tcpMultiaddrs } from './look-up.ts'
import type { SwarmMetrics } from './metrics.ts'
import type { BootstrapName } from './options.ts'

/** A node that is connected to fewer looks for more: enough that no single loss leaves it alone. */
const ENOUGH_NODES = 4
/** Addresses from DNS that are dialled in a round: of thousands of nodes a few are enough to find the rest. */
const DNS_DIALS = 16
const MAX_TOLD = 256
const DIAL_DEADLINE_MS = 10_000
const LOOK_UP_DEADLINE_MS = 5000
const FIRST_WAIT_MS = 1000
const MAX_WAIT_MS = 60_000

/** Who said that there is a node at an address: the configuration or a scheduler, DNS, or multicast DNS. */
export type Source = 'told' | 'dns' | 'mdns'

/** What dials for `Bootstrap`. */
export interface Dialler {
  /** Nodes that are connected. */
  peerCount(): number
  /** Addresses, without peer ids, of this node itself and of those that are connected. */
  reached(): Promise<ReadonlySet<string>>
  /** Resolves to whether a node answered that was not connected, nor is this one itself. Rejects when nobody did. */
  dial(address: string, signal: AbortSignal): Promise<boolean>
}

/** Finds the first nodes to connect to, and others while there are few. */
export class Bootstrap implements Startable {
  readonly #configured: readonly string[]
  readonly #names: readonly BootstrapName[]
  readonly #dialler: Dialler
  readonly #lookUp: LookUp
  readonly #pause: typeof pause
  readonly #random: () => number
  readonly #log: Logger
  readonly #metrics: SwarmMetrics
  /** Addresses that end in a peer id, beside the configured ones; the newest last. */
  readonly #told = new Map<string, Source>()
  /** Look-ups that have not come back, also those that nobody waits for any more. */
  readonly #lookingUp = new Map<string, Promise<readonly string[]>>()
  readonly #dialling = new Map<string, Promise<void>>()
  #running: { readonly stop: AbortController; readonly ended: Promise<void> } | undefined
  #wake = new AbortController()

  constructor(
    options: { readonly configured: readonly string[]; readonly names: readonly BootstrapName[] },
    dependencies: {
      dialler: Dialler
      lookUp: LookUp
      pause: typeof pause
      random: () => number
      log: Logger
      metrics: SwarmMetrics
    },
  ) {
    this.#configured = options.configured
    this.#names = options.names
    this.#dialler = dependencies.dialler
    this.#lookUp = dependencies.lookUp
    this.#pause = dependencies.pause
    this.#random = dependencies.random
    this.#log = dependencies.log
    this.#metrics = dependencies.metrics
  }

  /** Waits for nobody: nodes are looked for in the background. */
  async start(): Promise<void> {
    if (this.#running !== undefined) return
    const stop = new AbortController()
    // The loop begins when `#running` is set, which dials look at.
    this.#running = { stop, ended: Promise.resolve().then(() => this.#run(stop.signal)) }
  }

  async stop(): Promise<void> {
    const running = this.#running
    this.#running = undefined
    running?.stop.abort()
    this.#wake.abort()
    await running?.ended
    await Promise.all(this.#dialling.values())
  }

  /** Dials nodes that somebody names, and remembers them. */
  told(addresses: readonly string[]): void {
    for (const address of addresses) {
      this.#remember(address, 'told')
      this.#dial(address, 'told')
    }
  }

  /** Remembers nodes that said by multicast that they are there; dials new ones if there is need for any. */
  heard(addresses: readonly string[]): void {
    for (const address of addresses) {
      const isNew = !this.#told.has(address)
      this.#remember(address, this.#told.get(address) ?? 'mdns')
      if (isNew && this.#isNeeded) this.#dial(address, 'mdns')
    }
  }

  /** A node that was connected is not any more: if few are left, others are looked for soon. */
  lost(): void {
    if (this.#isNeeded) this.#wake.abort()
  }

  get #isNeeded(): boolean {
    return this.#dialler.peerCount() < ENOUGH_NODES
  }

  #remember(address: string, source: Source): void {
    this.#told.delete(address)
    this.#told.set(address, source)
    const [oldest] = this.#told.keys()
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest)
  }

  async #run(signal: AbortSignal): Promise<void> {
    for (let waitMs = FIRST_WAIT_MS; !signal.aborted; ) {
      const wake = new AbortController()
      this.#wake = wake
      if (this.#isNeeded) await this.#round(signal)
      await this.#pause(this.#jittered(waitMs), wake.signal)
      waitMs = Math.min(MAX_WAIT_MS, waitMs * 2)
      if (!wake.signal.aborted) continue
      // Others may have lost the same node at the same moment.
      waitMs = FIRST_WAIT_MS
      await this.#pause(this.#jittered(waitMs), signal)
    }
  }

  #jittered(waitMs: number): number {
    return (waitMs / 2) * (1 + this.#random())
  }

  async #round(signal: AbortSignal): Promise<void> {
    for (const address of this.#configured) this.#dial(address, 'told')
    for (const [address, source] of this.#told) this.#dial(address, source)
    const share = Math.ceil(DNS_DIALS / this.#names.length)
    await Promise.all(this.#names.map((name) => this.#dialNamed(name, share, signal)))
  }

  async #dialNamed({ host, port }: BootstrapName, most: number, signal: AbortSignal): Promise<void> {
    try {
      const found = await untilAborted(this.#addressesOf(host), withDeadline(LOOK_UP_DEADLINE_MS, signal))
      this.#metrics.lookups.inc({ outcome: 'found' })
      const reached = await this.#dialler.reached()
      const others = tcpMultiaddrs(found, port).filter((address) => !reached.has(address))
      for (const address of chooseSome(others, most, this.#random)) this.#dial(address, 'dns')
    } catch (error) {
      if (signal.aborted) return
      this.#metrics.lookups.inc({ outcome: 'failed' })
      this.#log.debug({ host, err: error }, 'a name of libp2p.bootstrapDns can not be looked up')
    }
  }

  /** One look-up of a host at a time, as none can be stopped. */
  #addressesOf(host: string): Promise<readonly string[]> {
    const running = this.#lookingUp.get(host)
    if (running !== undefined) return running
    const started = this.#lookUp(host).finally(() => this.#lookingUp.delete(host))
    this.#lookingUp.set(host, started)
    return started
  }

  #dial(address: string, source: Source): void {
    const running = this.#running
    if (running === undefined || this.#dialling.has(address)) return
    const dial = this.#dialOne(address, source, running.stop.signal).finally(() => this.#dialling.delete(address))
    this.#dialling.set(address, dial)
  }

  async #dialOne(address: string, source: Source, signal: AbortSignal): Promise<void> {
    try {
      const isNew = await this.#dialler.dial(address, withDeadline(DIAL_DEADLINE_MS, signal))
      if (isNew) this.#metrics.bootstrapDials.inc({ source, outcome: 'connected' })
    } catch (error) {
      if (signal.aborted) return
      this.#metrics.bootstrapDials.inc({ source, outcome: 'failed' })
      this.#log.debug({ address, source, err: error }, 'a libp2p address can not be dialled')
    }
  }
}

/** `promise`, or a rejection once `signal` aborts; what becomes of the promise then is of no interest. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = () => reject(signal.reason)
    if (signal.aborted) give()
    signal.addEventListener('abort', give, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', give))
  })
}
