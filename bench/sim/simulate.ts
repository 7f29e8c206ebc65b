import { Random } from '@shoal/scheduler'
import { Central } from './central.ts'
import type { PolicyName } from './options.ts'
import { BitTorrentLike } from './rivals/bittorrent-like.ts'
import { DragonflyLike } from './rivals/dragonfly-like.ts'
import { WholeBlob } from './rivals/whole-blob.ts'
import type { Scenario } from './scenario.ts'
import type { Result } from './tally.ts'
import { type Policy, World } from './world.ts'

const POLICIES: Readonly<Record<PolicyName, new (world: World) => Policy>> = {
  F: Central,
  A: DragonflyLike,
  B: BitTorrentLike,
  C: WholeBlob,
}

/** Runs one scenario to its end. Equal scenarios give equal results, apart from the time that it took. */
export function simulate(scenario: Scenario, policy: PolicyName): Result {
  const numbers = new Random(scenario.seed)
  const world = new World(scenario, () => numbers.unit())
  world.run(new POLICIES[policy](world))
  return world.tally.result(world.rates)
}
