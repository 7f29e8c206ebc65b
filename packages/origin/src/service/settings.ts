import { readFile } from 'node:fs/promises'
import { CoreError, systemErrorCode } from '@shoal/core'
import type { OriginEntry, OriginSettings } from './options.ts'

/**
 * A config key such as `origins` with the files it names read. Throws CoreError `CONFIG_UNREADABLE` for a file that can
 * not be read, `CONFIG_INVALID` for half of a user name and password.
 */
export async function readOriginSettings(
  entries: Readonly<Record<string, OriginEntry>>,
  configKey = 'origins',
): Promise<Record<string, OriginSettings>> {
  const settings: Record<string, OriginSettings> = {}
  for (const [registry, { passwordFile, caFile, proxyCredentialsFile, ...rest }] of Object.entries(entries)) {
    if ((passwordFile === undefined) !== (rest.username === undefined)) {
      throw new CoreError(
        'CONFIG_INVALID',
        `${configKey}.${registry}: give username and passwordFile together, or neither`,
      )
    }
    const password =
      passwordFile === undefined ? undefined : await readText(`${configKey}.${registry}.passwordFile`, passwordFile)
    const ca = caFile === undefined ? undefined : await readText(`${configKey}.${registry}.caFile`, caFile)
    const proxyKey = `${configKey}.${registry}.proxyCredentialsFile`
    const proxyCredentials =
      proxyCredentialsFile === undefined ? undefined : await readText(proxyKey, proxyCredentialsFile)
    settings[registry] = {
      ...rest,
      ...(password === undefined ? {} : { password: withoutNewline(password) }),
      ...(ca === undefined ? {} : { ca }),
      ...(proxyCredentials === undefined ? {} : { proxyCredentials: withoutNewline(proxyCredentials) }),
    }
  }
  return settings
}

/** Editors and `echo` end a file with a newline; no secret means it. */
function withoutNewline(text: string): string {
  return text.replace(/\r?\n$/, '')
}

async function readText(key: string, path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (cause) {
    throw new CoreError(
      'CONFIG_UNREADABLE',
      `${key}: can not read ${path} (${systemErrorCode(cause) ?? 'unknown error'}): check that it exists and is readable`,
      { cause },
    )
  }
}
