import { type FileHandle, open, rename, rm } from 'node:fs/promises'
import type { Readable, Writable } from 'node:stream'
import { makeFolder, systemErrorCode } from '@shoal/core'
import {
  type ArchiveProgress,
  exportImages,
  importImages,
  parseImageName,
  parsePlatform,
  type RegistryOptions,
  registryService,
  whileStopped,
} from '@shoal/registry'
import { type ConfigSources, loadServiceConfig } from './configure.ts'
import { CliError } from './errors.ts'
import { mebibytes } from './pull/progress.ts'
import { storageOf } from './registry-storage.ts'

const SHOW_EVERY_MS = 1000
/** Standard output or input. */
const STANDARD = '-'

interface Streams {
  readonly stdout: Writable
  readonly stderr: Writable
  readonly stdin?: Readable
}

interface ArchiveFlags extends ConfigSources {
  readonly json: boolean
  readonly platform?: string | undefined
}

/** Writes images of a registry, which may run meanwhile, to a tar. The file has its name when it is whole. */
export async function exportFromRegistry(
  options: ArchiveFlags & { readonly images: readonly string[]; readonly to: string },
  streams: Streams,
): Promise<void> {
  const images = options.images.map(parseImageName)
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform)
  const { values } = await loadServiceConfig(registryService, options)
  const driver = await storageOf(values)
  const partial = `${options.to}.partial`
  const file = options.to === STANDARD ? undefined : await openFile(partial, 'w')
  // Standard output may be the archive.
  const say = sayer(options.json, file === undefined ? streams.stderr : streams.stdout)
  const to = file === undefined ? streams.stdout : file.createWriteStream({ flush: true })
  try {
    const done = await exportImages(driver, to, { images, platform, progress: say.progress })
    if (file !== undefined) await rename(partial, options.to)
    say.end(`exported: ${describe(done)}`, done)
  } catch (error) {
    if (file !== undefined) await rm(partial, { force: true })
    throw error
  } finally {
    // The stream closes it only when it was written to.
    await file?.close()
  }
}

/** Takes the images of a tar into the storage of a registry that does not run. */
export async function importIntoRegistry(
  options: ArchiveFlags & { readonly from: string; readonly as?: string | undefined },
  { stdout, stdin = process.stdin }: Streams,
): Promise<void> {
  const as = options.as === undefined ? undefined : parseImageName(options.as)
  if (as?.digest !== undefined) throw new CliError('USAGE', '--as takes a name, or name:tag')
  const platform = options.platform === undefined ? undefined : parsePlatform(options.platform)
  const { values } = await loadServiceConfig(registryService, options)
  const { dataDir, storage } = values as RegistryOptions
  if (storage.driver === 'filesystem') await makeFolder(dataDir)
  const driver = await storageOf(values)
  const say = sayer(options.json, stdout)
  const file = options.from === STANDARD ? undefined : await openFile(options.from, 'r')
  const from = file === undefined ? stdin : file.createReadStream()
  const take = () => importImages(driver, from, { as, platform, progress: say.progress })
  const imported = await whileStopped(dataDir, take).finally(() => file?.close())
  const lines = imported.map(
    ({ repository, tag, digest }) => `${repository}${tag === undefined ? '' : `:${tag}`}@${digest}`,
  )
  say.end(`imported:\n${lines.map((line) => `  ${line}`).join('\n')}`, { images: imported })
}

async function openFile(path: string, how: 'r' | 'w'): Promise<FileHandle> {
  try {
    return await open(path, how)
  } catch (cause) {
    const doing = how === 'r' ? 'read' : 'write'
    throw new CliError('USAGE', `can not ${doing} ${path} (${systemErrorCode(cause)}): name another file, or -`, {
      cause,
    })
  }
}

function describe({ images, blobs, bytes }: ArchiveProgress): string {
  return `${images} images, ${blobs} contents, ${mebibytes(bytes)}`
}

function sayer(isJson: boolean, out: Writable) {
  let shownMs = performance.now()
  return {
    progress: (soFar: ArchiveProgress) => {
      if (isJson || performance.now() - shownMs < SHOW_EVERY_MS) return
      shownMs = performance.now()
      out.write(`${describe(soFar)}\n`)
    },
    end: (text: string, json: object) => void out.write(isJson ? `${JSON.stringify(json)}\n` : `${text}\n`),
  }
}
