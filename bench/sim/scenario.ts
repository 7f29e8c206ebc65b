/** When nodes arrive: all at once; spread evenly over one T*; one after another over four T*. */
export type Arrival = 'flash' | 'staggered' | 'rolling'

/** What is simulated. Times in piece times (of a node of rate 1), rates relative to an ordinary node's. */
export interface Scenario {
  readonly nodes: number
  readonly pieces: number
  readonly arrival: Arrival
  /** Share of the nodes that have a quarter of the rate. */
  readonly slow: number
  /** Share of the nodes that die while they download. */
  readonly fail: number
  /** Share of the transfers that take 50 times as long as they should. */
  readonly hang: number
  readonly zones: number
  readonly seedRate: number
  /** One way. */
  readonly latency: number
  readonly seed: number
}

const SPREAD: Readonly<Record<Arrival, number>> = { flash: 0, staggered: 1, rolling: 4 }
const SLOW_RATE = 0.25
/** A dead node is noticed after so long. */
const DETECTION = 2

/** The bound that times are given relative to: M + ⌊log2 N⌋ for a seed like the others, M for a faster one. */
export function bound({ nodes, pieces, seedRate }: Scenario): number {
  if (seedRate > 1) return pieces
  return pieces / seedRate + Math.floor(Math.log2(nodes))
}

/** Something that happens to a node at a time that the scenario sets. */
export interface Incident {
  readonly at: number
  readonly node: number
  readonly kind: 'arrives' | 'dies' | 'missed'
}

/** Who is slow, and what happens when; the seed is node number `nodes`, is there from the start and stays. */
export function plan(scenario: Scenario, random: () => number): { rates: Float64Array; incidents: Incident[] } {
  const { nodes, arrival, slow, fail, seedRate } = scenario
  const rates = new Float64Array(nodes + 1).fill(1)
  rates[nodes] = seedRate
  const order = shuffled(nodes, random)
  for (const node of order.slice(0, Math.round(slow * nodes))) rates[node] = SLOW_RATE
  const span = SPREAD[arrival] * bound(scenario)
  const incidents: Incident[] = []
  const arrivals: number[] = []
  for (let node = 0; node < nodes; node++) {
    const at = span * random()
    arrivals.push(at)
    incidents.push({ at, node, kind: 'arrives' })
  }
  const doomed = order.slice(order.length - Math.round(fail * nodes))
  for (const node of doomed) {
    const at = (arrivals[node] as number) + bound(scenario) * (0.1 + 0.8 * random())
    incidents.push({ at, node, kind: 'dies' }, { at: at + DETECTION, node, kind: 'missed' })
  }
  incidents.sort((a, b) => a.at - b.at || a.node - b.node)
  return { rates, incidents }
}

function shuffled(count: number, random: () => number): number[] {
  const order = Array.from({ length: count }, (_, i) => i)
  for (let i = count - 1; i > 0; i--) {
    const other = Math.floor(random() * (i + 1))
    const moved = order[i] as number
    order[i] = order[other] as number
    order[other] = moved
  }
  return order
}
