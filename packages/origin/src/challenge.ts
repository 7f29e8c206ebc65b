/** One challenge of a `WWW-Authenticate` header. */
export interface Challenge {
  /** Lower case. */
  readonly scheme: string
  /** Parameters, names in lower case; the first of a name counts. */
  readonly parameters: ReadonlyMap<string, string>
}

const MAX_LENGTH = 8192
const MAX_CHALLENGES = 8
const MAX_PARAMETERS = 32

const SEPARATORS = /[ \t,]*/y
const SCHEME = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)(?:[ \t]+|(?=,)|$)/y
const TOKEN68 = /[A-Za-z0-9\-._~+/]+=*[ \t]*(?=,|$)/y
// Unquoted values are taken up to a comma or space: some registries do not quote their realm.
const PARAMETER = /([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s,"=]+))[ \t]*(?=,|$)/sy

/**
 * Reads `WWW-Authenticate` values (RFC 9110 §11.6.1: several challenges in one value, quoted strings, escapes).
 * What follows a mistake in a value is left out; so is all beyond 8 KiB, 8 challenges and 32 parameters each.
 */
export function parseChallenges(values: readonly string[]): Challenge[] {
  const challenges: Challenge[] = []
  let length = 0
  for (const value of values) {
    length += value.length
    if (length > MAX_LENGTH) break
    readChallenges(value, challenges)
  }
  return challenges
}

function readChallenges(value: string, challenges: Challenge[]): void {
  let at = skip(value, 0)
  while (at < value.length && challenges.length < MAX_CHALLENGES) {
    const scheme = matchAt(SCHEME, value, at)
    if (scheme === undefined) return
    at = SCHEME.lastIndex
    const parameters = new Map<string, string>()
    challenges.push({ scheme: (scheme[1] ?? '').toLowerCase(), parameters })
    if (matchAt(TOKEN68, value, at) !== undefined) {
      at = skip(value, TOKEN68.lastIndex)
      continue
    }
    for (let count = 0; ; count++) {
      const start = skip(value, at)
      const parameter = matchAt(PARAMETER, value, start)
      if (parameter === undefined) {
        at = start
        break
      }
      if (count === MAX_PARAMETERS) return
      at = PARAMETER.lastIndex
      const name = (parameter[1] ?? '').toLowerCase()
      const text = parameter[2] === undefined ? (parameter[3] ?? '') : parameter[2].replace(/\\(.)/gs, '$1')
      if (!parameters.has(name)) parameters.set(name, text)
    }
  }
}

function skip(value: string, at: number): number {
  matchAt(SEPARATORS, value, at)
  return SEPARATORS.lastIndex
}

function matchAt(pattern: RegExp, value: string, at: number): RegExpExecArray | undefined {
  pattern.lastIndex = at
  return pattern.exec(value) ?? undefined
}
