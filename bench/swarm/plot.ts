import type { Progress } from './progress.ts'
import type { Report } from './report.ts'
import type { Outcome } from './run.ts'

const WIDTH = 960
const HEIGHT = 480
const MARGIN = { left: 56, right: 16, top: 16, bottom: 44 }
const ZONE_COLORS = ['#2563eb', '#c2410c', '#15803d', '#7e22ce', '#0e7490', '#a16207']
const TICKS = 6

/** A page, complete in itself, that shows how the last round's workload grew on every node. */
export function plotOf(report: Report, { rounds, tStarSeconds }: Outcome): string {
  const progress = rounds.at(-1)?.progress ?? []
  const longest = Math.max(tStarSeconds, ...progress.flatMap(({ points }) => points.map(({ seconds }) => seconds)))
  const x = (seconds: number) => MARGIN.left + (seconds / longest) * (WIDTH - MARGIN.left - MARGIN.right)
  const y = (share: number) => HEIGHT - MARGIN.bottom - share * (HEIGHT - MARGIN.top - MARGIN.bottom)
  const title = `${report.nodes} nodes, ${(report.sizeBytes / 1024 ** 2).toFixed(0)} MiB, ${report.rateMbps} Mbit/s`
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Swarm: ${title}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1f2937 }
svg { width: 100%; height: auto } text { font-size: 12px; fill: #4b5563 }
.line { fill: none; stroke-width: 1.4; stroke-opacity: .75 } .line:hover { stroke-width: 4; stroke-opacity: 1 }
.seed { stroke: #111827; stroke-width: 2.4; stroke-dasharray: 6 3 } .grid { stroke: #e5e7eb } .bound { stroke: #dc2626; stroke-dasharray: 3 3 }
table { border-collapse: collapse } td { padding: .1rem 1.2rem .1rem 0 }
</style>
<h1>A swarm: ${title}</h1>
<p>What each node held, by seconds since the first pull began. Black and dashed: the seed, which fetches from the
registry; red: the bound T*, ${tStarSeconds.toFixed(2)} s. Point at a line to see whose it is.</p>
<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="Share held by each node over time">
${axes(x, y, longest)}
<line class="bound" x1="${x(tStarSeconds)}" x2="${x(tStarSeconds)}" y1="${y(0)}" y2="${y(1)}"/>
${progress.map((one) => line(one, x, y)).join('\n')}
</svg>
<table>${rows(report)}</table>
</html>
`
}

function axes(x: (seconds: number) => number, y: (share: number) => number, longest: number): string {
  const step = niceStep(longest / TICKS)
  const lines: string[] = []
  for (let seconds = 0; seconds <= longest; seconds += step) {
    lines.push(`<line class="grid" x1="${x(seconds)}" x2="${x(seconds)}" y1="${y(0)}" y2="${y(1)}"/>`)
    lines.push(`<text x="${x(seconds)}" y="${HEIGHT - 24}" text-anchor="middle">${Number(seconds.toFixed(3))} s</text>`)
  }
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    lines.push(`<line class="grid" x1="${x(0)}" x2="${x(longest)}" y1="${y(share)}" y2="${y(share)}"/>`)
    lines.push(`<text x="${MARGIN.left - 8}" y="${y(share) + 4}" text-anchor="end">${share * 100} %</text>`)
  }
  return lines.join('\n')
}

/** The power of ten, twice or five times it, that is next above. */
function niceStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= least) ?? least
}

function line(
  { name, zone, isSeed, points }: Progress,
  x: (seconds: number) => number,
  y: (share: number) => number,
): string {
  const path = points.map(({ seconds, share }) => `${x(seconds).toFixed(1)},${y(share).toFixed(1)}`).join(' ')
  const look = isSeed ? 'class="line seed"' : `class="line" stroke="${ZONE_COLORS[zone % ZONE_COLORS.length]}"`
  return `<polyline ${look} points="${path}"><title>${name}, zone ${zone}</title></polyline>`
}

function rows(report: Report): string {
  const shown: Record<string, string> = {
    'time over T*, p50 / p99 / max': [report.p50, report.p99, report.max].map((ratio) => ratio.toFixed(3)).join(' / '),
    'copies from the origin': report.originCopies.toFixed(3),
    'copies between zones': report.crossZoneCopies === null ? '–' : report.crossZoneCopies.toFixed(3),
    'failed pulls, wrong bytes': `${report.failed}, ${report.wrongBytes}`,
    'share of the machine’s CPU': `${(report.cpuShare * 100).toFixed(0)} %`,
  }
  return Object.entries(shown)
    .map(([name, value]) => `<tr><td>${name}</td><td>${value}</td></tr>`)
    .join('')
}
