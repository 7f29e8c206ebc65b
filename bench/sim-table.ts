/**
 * Runs the scenarios that policy F is held to, each with several seeds, and compares the medians with the bar. Ends
 * with exit code 1 when one is missed.
 */
import { readCommandLine } from './kit/command-line.ts'
import { circumstances, median, print } from './kit/report.ts'
import { type Bar, TRIALS } from './sim/bars.ts'
import { simulate } from './sim/simulate.ts'

const given = readCommandLine('sim:table', 'Runs the scenarios that the scheduling policy is held to.', {
  seeds: { what: 'runs of each, with seeds from 1 on', fallback: 5, least: 1, most: 1000 },
  only: { what: 'those whose name has this in it', kind: 'text' },
})
const trials = TRIALS.filter(({ name }) => name.includes(given.only ?? ''))
if (trials.length === 0) {
  const names = TRIALS.map(({ name }) => `  ${name}`).join('\n')
  process.stderr.write(`sim:table: no scenario has "${given.only}" in its name; there are\n${names}\n`)
  process.exit(2)
}
const seeds = Array.from({ length: given.seeds }, (_, i) => i + 1)

const say = (line: string) => {
  if (!given.json) process.stdout.write(`${line}\n`)
}
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
const judged = []
for (const { name, scenario, bars } of trials) {
  const results = seeds.map((seed) => simulate({ ...scenario, seed }, 'F'))
  for (const one of bars) {
    const figures = results.map(one.of)
    const { bar, isMet } = judge(one, median(figures))
    const range = [Math.min(...figures), Math.max(...figures)] as const
    judged.push({ scenario: name, figure: one.figure, bar, median: median(figures), range, isMet })
    say(row([name, one.figure, bar, number(median(figures)), range.map(number).join(' – '), isMet ? 'pass' : 'FAIL']))
  }
}
const { machine, node, command } = circumstances()
print(given.json, { rows: judged }, ['', `${seeds.length} seeds; ${machine}, Node ${node}: ${command}`])
process.exitCode = judged.every(({ isMet }) => isMet) ? 0 : 1
