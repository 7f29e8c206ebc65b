/**
 * Runs the scenarios that policy F is held to, each with several seeds, and compares the medians with the bar. Ends
 * with exit code 1 when one is missed.
 */
import { parseArgs } from 'node:util'
import { circumstances, median } from './kit/report.ts'
import { type Bar, TRIALS } from './sim/bars.ts'
import { simulate } from './sim/simulate.ts'

const { values } = parseArgs({
  options: { seeds: { type: 'string', default: '5' }, only: { type: 'string', default: '' } },
})
const seeds = Array.from({ length: Number(values.seeds) }, (_, i) => i + 1)
if (seeds.length === 0) throw new Error(`--seeds must be a whole number of at least 1, not "${values.seeds}"`)

const say = (line: string) => process.stdout.write(`${line}\n`)
const row = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
const number = (value: number) => (value >= 100 ? value.toFixed(0) : value.toFixed(3))

function judge({ atLeast, atMost }: Bar, value: number): { bar: string; isMet: boolean } {
  if (atLeast !== undefined) return { bar: `≥ ${atLeast}`, isMet: value >= atLeast }
  return {
    bar: `≤ ${atMost === undefined ? '∞' : Number(atMost.toFixed(3))}`,
    isMet: value <= (atMost ?? Number.POSITIVE_INFINITY),
  }
}

say(row(['scenario', 'figure', 'must be', 'median', 'lowest – highest', '']))
say(row(['---', '---', '---', '---', '---', '---']))
let missed = 0
for (const { name, scenario, bars } of TRIALS) {
  if (!name.includes(values.only)) continue
  const results = seeds.map((seed) => simulate({ ...scenario, seed }, 'F'))
  for (const one of bars) {
    const figures = results.map(one.of)
    const { bar, isMet } = judge(one, median(figures))
    if (!isMet) missed++
    const range = `${number(Math.min(...figures))} – ${number(Math.max(...figures))}`
    say(row([name, one.figure, bar, number(median(figures)), range, isMet ? 'pass' : 'FAIL']))
  }
}
const { machine, node, command } = circumstances()
say(`\n${seeds.length} seeds; ${machine}, Node ${node}: ${command}`)
process.exitCode = missed === 0 ? 0 : 1
