import { RegistryError } from '../errors.ts'

/** What is thrown when an archive is not as it must be. */
export function invalid(why: string, cause?: unknown): RegistryError {
  return new RegistryError('MANIFEST_INVALID', `the archive can not be imported: ${why}`, { cause })
}

export function lacks(digest: string, what = 'which an image needs'): RegistryError {
  return invalid(`it lacks ${digest}, ${what}`)
}
