import { existsSync } from 'node:fs'
import { mkdir, rmdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import type { Service } from '@shoal/bench'
import type { Scene } from './scene.ts'

const PERIOD_US = 100_000
const ROOT = '/sys/fs/cgroup'

/** Where the system keeps limits of CPU time, and how one is said there: control groups of version 1 or 2. */
interface Version {
  readonly base: string
  readonly limit: (quotaUs: number) => readonly (readonly [file: string, content: string])[]
}

const VERSION_1: Version = {
  base: join(ROOT, 'cpu'),
  limit: (quotaUs) => [
    ['cpu.cfs_period_us', String(PERIOD_US)],
    ['cpu.cfs_quota_us', String(quotaUs)],
  ],
}
const VERSION_2: Version = { base: ROOT, limit: (quotaUs) => [['cpu.max', `${quotaUs} ${PERIOD_US}`]] }

/**
 * Gives each process a share of one core, as a limit in Kubernetes does, until the run is over: in each tenth of a second
 * it stands still once it has used it up. Throws Error where the system has no such limits.
 */
export async function limitCpu({ atEnd }: Scene, services: readonly Service[], share: number): Promise<void> {
  const { base, limit } = await version()
  const move = (folder: string, service: Service) =>
    writeFile(join(folder, 'cgroup.procs'), String(service.process.pid))
  for (const service of services) {
    const folder = join(base, `shoal-chaos-${process.pid}-${service.place.name}`)
    await mkdir(folder, { recursive: true })
    atEnd(async () => {
      await move(base, service)
      await rmdir(folder)
    })
    for (const [file, content] of limit(Math.round(share * PERIOD_US))) await writeFile(join(folder, file), content)
    await move(folder, service)
  }
}

async function version(): Promise<Version> {
  if (existsSync(join(VERSION_1.base, 'tasks'))) return VERSION_1
  if (!existsSync(join(ROOT, 'cgroup.controllers'))) throw new Error(`${ROOT} has no limits of CPU time`)
  await writeFile(join(ROOT, 'cgroup.subtree_control'), '+cpu')
  return VERSION_2
}
