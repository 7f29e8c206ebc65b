import { cpus } from 'node:os'

/** The middle of the values (the mean of the two middle ones). */
export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length / 2
  return ((sorted[Math.floor(half)] ?? 0) + (sorted[Math.ceil(half) - 1] ?? 0)) / 2
}

/** `median (min – max)` of the values, with `digits` after the point. */
export function spread(values: readonly number[], digits: number): string {
  const [low, high] = [Math.min(...values), Math.max(...values)]
  return `${median(values).toFixed(digits)} (${low.toFixed(digits)} – ${high.toFixed(digits)})`
}

/** What was run where, for a result that somebody reads later. */
export function circumstances(): { machine: string; node: string; command: string } {
  const [cpu] = cpus()
  return {
    machine: `${cpus().length} × ${cpu?.model ?? 'unknown CPU'}`,
    node: process.version,
    command: `node ${process.argv
      .slice(1)
      .map((arg) => arg.replace(`${process.cwd()}/`, ''))
      .join(' ')}`,
  }
}

/** Prints the result: JSON on one line, or the lines for people. */
export function print(isJson: boolean, result: object, lines: readonly string[]): void {
  process.stdout.write(isJson ? `${JSON.stringify({ ...result, ...circumstances() })}\n` : `${lines.join('\n')}\n`)
}
