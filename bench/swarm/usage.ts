import { readFile } from 'node:fs/promises'
import { cpus } from 'node:os'
import type { Measured } from '../kit/processes.ts'
import type { Cluster } from './cluster.ts'

/** CPU seconds so far. */
export interface Usage {
  /** Of seed and nodes together. */
  readonly nodes: number
  /** Of all schedulers together. */
  readonly scheduler: number
  readonly registry: number
  /** Of everything on the machine, the kernel's own work included. */
  readonly machine: number
  readonly atMs: number
}

/** What a span of time cost. */
export interface Cost {
  readonly nodesCpuSeconds: number
  readonly schedulerCpuSeconds: number
  readonly registryCpuSeconds: number
  /** Share of the machine's CPU time that was used, by whatever: 1 is all of it. */
  readonly cpuShare: number
  /** The same, by the processes under test: the kernel's work on packets is in neither them nor the clients. */
  readonly ownCpuShare: number
}

export async function usageNow({ seed, nodes, schedulers, registry }: Cluster): Promise<Usage> {
  const sum = async (processes: readonly Measured[]) =>
    (await Promise.all(processes.map((one) => one.cpuSeconds()))).reduce((total, seconds) => total + seconds, 0)
  return {
    nodes: await sum([seed, ...nodes].map((node) => node.process)),
    scheduler: await sum(schedulers.map((scheduler) => scheduler.process)),
    registry: await sum([registry.process]),
    machine: await machineCpuSeconds(),
    atMs: performance.now(),
  }
}

export function costBetween(before: Usage, after: Usage): Cost {
  const available = secondsOfAllCores(before.atMs, after.atMs)
  const [nodes, scheduler, registry] = [
    after.nodes - before.nodes,
    after.scheduler - before.scheduler,
    after.registry - before.registry,
  ]
  return {
    nodesCpuSeconds: nodes,
    schedulerCpuSeconds: scheduler,
    registryCpuSeconds: registry,
    cpuShare: (after.machine - before.machine) / available,
    ownCpuShare: (nodes + scheduler + registry) / available,
  }
}

/** CPU seconds that the machine had between two moments of `performance.now()`. */
export function secondsOfAllCores(fromMs: number, toMs = performance.now()): number {
  return ((toMs - fromMs) / 1000) * cpus().length
}

/** All time of /proc/stat but idle and waiting for disks. */
export async function machineCpuSeconds(): Promise<number> {
  const [line = ''] = (await readFile('/proc/stat', 'utf8')).split('\n')
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] = line.split(/ +/).slice(1).map(Number)
  return (user + nice + system + irq + softirq + steal) / 100
}
