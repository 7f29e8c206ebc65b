import { type Digest, isRepositoryName, isTag, tryParseDigest } from '@shoal/core'
import { RegistryError } from '../errors.ts'

/** What somebody calls an image, or all images of a repository. */
export interface ImageName {
  readonly repository: string
  readonly tag?: string
  readonly digest?: Digest
}

/**
 * Reads `name`, `name:tag` or `name@digest`.
 * @throws RegistryError `NAME_INVALID`
 */
export function parseImageName(text: string): ImageName {
  const [, repository = '', tag, digestText] = /^([^:@]+)(?::([^@]+)|@(.+))?$/.exec(text) ?? []
  const digest = digestText === undefined ? undefined : tryParseDigest(digestText)
  const isRight =
    isRepositoryName(repository) &&
    (tag === undefined || isTag(tag)) &&
    (digestText === undefined || digest !== undefined)
  if (!isRight) {
    throw new RegistryError('NAME_INVALID', `"${text.slice(0, 256)}" is no image: write name, name:tag or name@digest`)
  }
  return { repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) }
}

/** An operating system and a processor. */
export interface Platform {
  readonly os: string
  readonly architecture: string
  readonly variant?: string
}

/**
 * Reads `os/architecture` or `os/architecture/variant`.
 * @throws RegistryError `NAME_INVALID`
 */
export function parsePlatform(text: string): Platform {
  const [, os, architecture, variant] = /^([a-z0-9]+)\/([a-z0-9_]+)(?:\/([a-z0-9]+))?$/.exec(text) ?? []
  if (os === undefined || architecture === undefined) {
    throw new RegistryError('NAME_INVALID', `"${text.slice(0, 64)}" is no platform: write one such as linux/arm64`)
  }
  return { os, architecture, ...(variant === undefined ? {} : { variant }) }
}

/** Whether what an index says of a child is the platform; any variant is when none is asked for. */
export function isPlatform(wanted: Platform, said: Readonly<Record<string, unknown>> | undefined): boolean {
  const { os, architecture, variant } = wanted
  return said?.os === os && said.architecture === architecture && (variant === undefined || said.variant === variant)
}
