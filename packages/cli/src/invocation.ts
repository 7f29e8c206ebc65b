import { accessSync, constants } from 'node:fs'
import { delimiter, join, relative } from 'node:path'

type Environment = Readonly<Record<string, string | undefined>>

/** How whoever started this process can start another command of Shoal: `npx shoal`, `shoal`, a path. */
export function invocation(file: string, environment: Environment, folder = process.cwd()): string {
  if (environment.npm_lifecycle_event === 'npx') return 'npx shoal'
  if (environment.npm_lifecycle_event !== undefined) return 'npm run shoal --'
  if ((environment.PATH ?? '').split(delimiter).some((path) => path !== '' && isProgram(join(path, 'shoal'))))
    return 'shoal'
  const launcher = join(file, '../../bin/shoal')
  const short = relative(folder, launcher)
  return shellQuote(short.startsWith('..') ? launcher : `./${short}`)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** `text` as one word of a POSIX shell. */
export function shellQuote(text: string): string {
  return /^[\w%+=:,./@-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`
}
