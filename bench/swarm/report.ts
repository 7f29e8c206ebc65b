import { cpus } from 'node:os'
import { median } from '../kit/report.ts'
import { percentile } from './bound.ts'
import type { Pulled } from './client.ts'
import type { SwarmOptions } from './options.ts'
import type { Outcome, RivalRound, Round } from './run.ts'

const GIB = 1024 ** 3
/** Above it the machine, not the links, decides how long a pull takes. */
const MACHINE_BOUND_SHARE = 0.9

/** Result of a run, as `--json` prints it. Times are ratios to T*. */
export type Report = ReturnType<typeof reportOf>

export function reportOf(options: SwarmOptions, outcome: Outcome, unshapedBecause: string | undefined) {
  const { rounds, rival, tStarSeconds, links } = outcome
  const ratios = (pulled: readonly Pulled[]) => pulled.map(({ totalMs }) => totalMs / 1000 / tStarSeconds)
  const over = (value: (round: Round) => number) => median(rounds.map(value))
  const total = (value: (pulled: Pulled) => number) =>
    rounds.flatMap(({ pulled }) => pulled).reduce((sum, pulled) => sum + value(pulled), 0)
  const sizeBytes = options.layers.reduce((sum, size) => sum + size, 0)
  const at = (share: number) => over(({ pulled }) => percentile(ratios(pulled), share))
  const cpuShare = over(({ cost }) => cost.cpuShare)
  const [crossZone] = rounds.map((round) => round.crossZoneCopies)
  const p99 = at(0.99)
  return {
    nodes: options.nodes,
    sizeBytes,
    layers: options.layers.length,
    rateMbps: options.rateBps / 1e6,
    latencyMs: options.latencyMs,
    zones: options.zones,
    zoneLatencyMs: options.zoneLatencyMs,
    arrival: options.arrival,
    rounds: rounds.length,
    isShaped: options.isShaped,
    ...(unshapedBecause === undefined ? {} : { unshapedBecause }),
    ...(links === undefined ? {} : { links: checkedLinks(links) }),
    assumed: 'the origin sends at the same rate as a node; T* leaves out the origin and counts headers as payload',
    tStarSeconds,
    p50: at(0.5),
    p99,
    max: at(1),
    originCopies: over((round) => round.originCopies),
    crossZoneCopies: crossZone === null || crossZone === undefined ? null : over((round) => round.crossZoneCopies ?? 0),
    failed: total((pulled) => pulled.failed),
    wrongBytes: total((pulled) => pulled.wrongBytes),
    cpuSecondsPerGiB: over(({ cost }) => cost.nodesCpuSeconds / ((sizeBytes * options.nodes) / GIB)),
    peakRssBytes: outcome.peakRssBytes,
    schedulerCpuSeconds: over(({ cost }) => cost.schedulerCpuSeconds),
    registryCpuSeconds: over(({ cost }) => cost.registryCpuSeconds),
    cpuShare,
    ownCpuShare: over(({ cost }) => cost.ownCpuShare),
    cores: cpus().length,
    isMachineTheLimit: cpuShare > MACHINE_BOUND_SHARE,
    ...(rival === undefined ? {} : { rival: rivalOf(options, rival, ratios(rival.pulled), p99, sizeBytes) }),
  }
}

/** The report for people. */
export function linesOf(report: Report): string[] {
  const ratio = (value: number) => value.toFixed(3)
  const { rival, links } = report
  return [
    `${report.nodes} nodes pull ${(report.sizeBytes / 1024 ** 2).toFixed(0)} MiB (${report.layers} blob${report.layers > 1 ? 's' : ''}), ${report.rateMbps} Mbit/s each way, round trip ${report.latencyMs} ms, ${report.zones} zone(s), ${report.rounds} round(s)`,
    links === undefined
      ? `links NOT shaped: ${report.unshapedBecause ?? 'as asked'}; times say nothing about a network`
      : `a flow got ${links.sameZone.mbps.toFixed(1)} Mbit/s of payload, round trip ${links.sameZone.roundTripMs.toFixed(2)} ms`,
    `time over T* (${report.tStarSeconds.toFixed(2)} s)   p50 ${ratio(report.p50)}   p99 ${ratio(report.p99)}   max ${ratio(report.max)}`,
    `copies   origin ${ratio(report.originCopies)}   between zones ${report.crossZoneCopies === null ? '–' : ratio(report.crossZoneCopies)}`,
    `failed ${report.failed}   wrong bytes ${report.wrongBytes}`,
    `CPU   nodes ${report.cpuSecondsPerGiB.toFixed(2)} s/GiB   scheduler ${report.schedulerCpuSeconds.toFixed(2)} s   machine ${(report.cpuShare * 100).toFixed(0)} % of ${report.cores} cores, ${(report.ownCpuShare * 100).toFixed(0)} % by the swarm${report.isMachineTheLimit ? ': the machine was the limit' : ''}`,
    `largest node ${(report.peakRssBytes / 1024 ** 2).toFixed(0)} MiB`,
    ...(rival === undefined
      ? []
      : [
          `${rival.name === 'direct' ? 'direct from the registry' : 'a chain of bare relays'}: p50 ${ratio(rival.p50)}   p99 ${ratio(rival.p99)}   max ${ratio(rival.max)}   we are ${rival.speedup.toFixed(rival.speedup < 2 ? 2 : 1)} times as fast at p99`,
          `its CPU   ${rival.cpuSecondsPerGiB === undefined ? '' : `relays ${rival.cpuSecondsPerGiB.toFixed(2)} s/GiB   `}machine ${(rival.cpuShare * 100).toFixed(0)} %`,
        ]),
  ]
}

function rivalOf(
  { rival, nodes }: SwarmOptions,
  { pulled, cpuSeconds, cpuShare }: RivalRound,
  ratios: readonly number[],
  ours: number,
  sizeBytes: number,
) {
  const p99 = percentile(ratios, 0.99)
  return {
    name: rival,
    p50: percentile(ratios, 0.5),
    p99,
    max: percentile(ratios, 1),
    speedup: p99 / ours,
    failed: pulled.reduce((sum, one) => sum + one.failed, 0),
    wrongBytes: pulled.reduce((sum, one) => sum + one.wrongBytes, 0),
    cpuShare,
    ...(cpuSeconds === undefined ? {} : { cpuSecondsPerGiB: cpuSeconds / ((sizeBytes * nodes) / GIB) }),
  }
}

function checkedLinks({ sameZone, otherZone }: NonNullable<Outcome['links']>) {
  const shown = ({ bps, roundTripMs }: typeof sameZone) => ({ mbps: bps / 1e6, roundTripMs })
  return { sameZone: shown(sameZone), ...(otherZone === undefined ? {} : { otherZone: shown(otherZone) }) }
}
