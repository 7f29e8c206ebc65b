import { environmentVariable, ownVariables, refuseUnknownVariables } from '@shoal/core/service'
import { variablesByService } from '../configure.ts'
import { CliError } from '../errors.ts'
import type { Member } from './layout.ts'

type Environment = Readonly<Record<string, string | undefined>>

/** The environment of each service. */
export type Environments = Readonly<Record<Member['service'], Environment>>

/**
 * What each service gets of an environment: of the `SHOAL_…` variables those that set options of it. Throws CoreError
 * `CONFIG_INVALID` for one that sets an option of no service, and CliError `USAGE` for one that would put a member
 * elsewhere than the others look for it.
 */
export async function environmentsOf(members: readonly Member[], environment: Environment): Promise<Environments> {
  const names = ownVariables(environment)
  const same = { registry: environment, scheduler: environment, seed: environment, peer: environment }
  // The code of the services, which is large, is loaded only to look at variables.
  if (names.length === 0) return same
  const known = await variablesByService()
  refuseUnknownVariables(names, new Set([...known.values()].flatMap((variables) => [...variables])))
  const placed = new Set(members.flatMap(placedBy))
  const [refused] = names.filter((name) => placed.has(name))
  if (refused !== undefined) {
    throw new CliError(
      'USAGE',
      `${refused} would put a part of the network where the others do not look for it: leave it out, and see the options of shoal up, such as --registry-port and --data`,
    )
  }
  const of = (service: Member['service']) => {
    const foreign = new Set(names.filter((name) => known.get(service)?.has(name) !== true))
    return Object.fromEntries(Object.entries(environment).filter(([name]) => !foreign.has(name)))
  }
  return { registry: of('registry'), scheduler: of('scheduler'), seed: of('seed'), peer: of('peer') }
}

/** The variables of the options that `layOut` gives a member, but for what it logs. */
function placedBy({ options }: Member): string[] {
  const { log: _log, ...placing } = options
  return Object.entries(placing).flatMap(([key, value]) =>
    typeof value === 'object' && value !== null && !Array.isArray(value)
      ? Object.keys(value).map((below) => environmentVariable([key, below]))
      : [environmentVariable([key])],
  )
}
