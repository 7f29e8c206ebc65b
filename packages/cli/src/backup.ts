import { realpath } from 'node:fs/promises'
import type { Writable } from 'node:stream'
import { makeFolder } from '@shoal/core'
import {
  type BackupProgress,
  backUp,
  FilesystemDriver,
  type RegistryOptions,
  registryService,
  restore,
  whileStopped,
} from '@shoal/registry'
import { type ConfigSources, loadServiceConfig } from './configure.ts'
import { CliError } from './errors.ts'
import { mebibytes } from './pull/progress.ts'
import { storageOf } from './registry-storage.ts'

const SHOW_EVERY_MS = 1000

interface Output {
  readonly stdout: Writable
  readonly now?: () => number
}

/**
 * Copies what a registry stores, which may run meanwhile, into a folder. Throws CliError `BACKUP_INCOMPLETE` when
 * something could not be copied, which is then named, and `USAGE` when there is nothing to be backed up.
 */
export async function backUpRegistry(
  options: ConfigSources & { readonly json: boolean; readonly to: string },
  output: Output,
): Promise<void> {
  const { values } = await loadServiceConfig(registryService, options)
  const source = await storageOf(values)
  await makeFolder(options.to)
  await refuseSame(values as RegistryOptions, options.to)
  const say = sayer(options.json, output)
  let problems = 0
  const done = await backUp(source, new FilesystemDriver(options.to), {
    progress: say.progress,
    problem: (what) => {
      problems++
      say.line(`not backed up: ${what}`)
    },
  })
  say.end('backed up', { ...done, problems })
  if (problems > 0) {
    throw new CliError(
      'BACKUP_INCOMPLETE',
      `${problems} things could not be backed up: run registry verify, and push again what it names`,
    )
  }
}

/** Copies a backup into the storage of a registry that does not run. */
export async function restoreRegistry(
  options: ConfigSources & { readonly json: boolean; readonly from: string; readonly merge: boolean },
  output: Output,
): Promise<void> {
  const { values } = await loadServiceConfig(registryService, options)
  const { dataDir, storage } = values as RegistryOptions
  if (storage.driver === 'filesystem') await makeFolder(dataDir)
  const target = await storageOf(values)
  await refuseSame(values as RegistryOptions, options.from)
  const say = sayer(options.json, output)
  const restored = { isMerge: options.merge, progress: say.progress }
  const done = await whileStopped(dataDir, () => restore(new FilesystemDriver(options.from), target, restored))
  say.end('restored', done)
}

async function refuseSame({ dataDir, storage }: RegistryOptions, folder: string): Promise<void> {
  if (storage.driver !== 'filesystem') return
  const [one, other] = await Promise.all([dataDir, folder].map((path) => realpath(path).catch(() => path)))
  if (one === other) throw new CliError('USAGE', `${folder} is the registry's own folder: name another one`)
}

function sayer(isJson: boolean, { stdout, now = () => performance.now() }: Output) {
  let shownMs = now()
  const line = (text: string) => {
    if (!isJson) stdout.write(`${text}\n`)
  }
  const describe = ({ repositories, files, bytes, copiedBytes }: BackupProgress) =>
    `${repositories} repositories, ${files} files, ${mebibytes(bytes)}, of which ${mebibytes(copiedBytes)} copied`
  return {
    line,
    progress: (soFar: BackupProgress) => {
      if (now() - shownMs < SHOW_EVERY_MS) return
      shownMs = now()
      line(describe(soFar))
    },
    end: (what: string, done: BackupProgress & { readonly problems?: number }) => {
      line(`${what}: ${describe(done)}`)
      if (isJson) stdout.write(`${JSON.stringify(done)}\n`)
    },
  }
}
