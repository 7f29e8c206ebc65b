import { parseArgs } from 'node:util'

/** A whole number that a benchmark takes. */
interface NumberOption {
  readonly what: string
  /** Left out: none. */
  readonly fallback?: number
  readonly least: number
  readonly most: number
}

/** A text that a benchmark takes, or a switch. */
interface OtherOption {
  readonly what: string
  readonly kind: 'text' | 'switch'
}

type Option = NumberOption | OtherOption
type ValueOf<Given extends Option> = Given extends NumberOption
  ? Given extends { readonly fallback: number }
    ? number
    : number | undefined
  : Given extends { readonly kind: 'switch' }
    ? boolean
    : string | undefined

/**
 * Reads a benchmark's command line; every one takes `--json` and `--help` besides its own. Help and errors end the
 * process.
 * @param name of the npm script
 * @param about what it does, a sentence
 */
export function readCommandLine<const Options extends Readonly<Record<string, Option>>>(
  name: string,
  about: string,
  options: Options,
): { readonly [Name in keyof Options]: ValueOf<Options[Name]> } & { readonly json: boolean } {
  const all: Readonly<Record<string, Option>> = {
    ...options,
    json: { what: 'one line of JSON', kind: 'switch' },
    help: { what: 'this', kind: 'switch' },
  }
  try {
    const values = valuesOf(all)
    if (values.help !== true) return values as ReturnType<typeof readCommandLine<Options>>
    process.stdout.write(helpOf(name, about, all))
    process.exit(0)
  } catch (error) {
    process.stderr.write(`${name}: ${error instanceof Error ? error.message : String(error)}; see --help\n`)
    process.exit(2)
  }
}

/** A number off the command line. Throws Error that says what is wrong with it. */
export function numberOf(
  name: string,
  text: string | undefined,
  fallback: number,
  least: number,
  most: number,
  isWhole = false,
): number {
  if (text === undefined) return fallback
  const value = text.trim() === '' ? Number.NaN : Number(text)
  if (!(value >= least && value <= most) || (isWhole && !Number.isInteger(value))) {
    throw new Error(`--${name} must be a ${isWhole ? 'whole ' : ''}number from ${least} to ${most}, not "${text}"`)
  }
  return value
}

function valuesOf(options: Readonly<Record<string, Option>>): Record<string, number | string | boolean | undefined> {
  const kinds = Object.entries(options).map(([name, option]) => {
    return [name, { type: 'kind' in option && option.kind === 'switch' ? 'boolean' : 'string' }] as const
  })
  const { values } = parseArgs({ options: Object.fromEntries(kinds) })
  return Object.fromEntries(
    Object.entries(options).map(([name, option]) => {
      const value = values[name]
      if ('kind' in option) return [name, option.kind === 'switch' ? value === true : value]
      const { fallback, least, most } = option
      if (value === undefined) return [name, fallback]
      return [name, numberOf(name, String(value), least, least, most, true)]
    }),
  )
}

function helpOf(name: string, about: string, options: Readonly<Record<string, Option>>): string {
  const lines = Object.entries(options).map(([option, given]) => {
    const isSwitch = 'kind' in given && given.kind === 'switch'
    const usage = `--${option}${isSwitch ? '' : 'kind' in given ? ' TEXT' : ' N'}`
    const fallback = 'fallback' in given && given.fallback !== undefined ? ` (${given.fallback})` : ''
    return `  ${usage.padEnd(18)}${given.what}${fallback}`
  })
  return `${about}\n\n  npm run --silent ${name} -- [options]\n\n${lines.join('\n')}\n`
}
