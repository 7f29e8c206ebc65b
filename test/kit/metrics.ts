import { KitError } from './errors.ts'
import { httpExpect } from './http.ts'

/** Values of Prometheus series by their text, for example `http_requests_total{code="200"}`. */
export type Series = ReadonlyMap<string, number>

const LINE = /^([a-zA-Z_:][a-zA-Z0-9_:]*(?:\{.*\})?)\s+(\S+)(?:\s+-?\d+)?$/

/** Fetches and reads a `/metrics` page. */
export async function scrape(url: string): Promise<Series> {
  return parseSeries((await httpExpect(url, [200])).body.toString('utf8'))
}

/**
 * Reads Prometheus text. Throws KitError `UNEXPECTED_ANSWER` for a line that is none.
 * Source: prometheus.io, "Exposition formats".
 */
export function parseSeries(text: string): Series {
  const series = new Map<string, number>()
  for (const line of text.split('\n')) {
    if (line === '' || line.startsWith('#')) continue
    const match = LINE.exec(line.trim())
    if (match === null) throw new KitError('UNEXPECTED_ANSWER', `not a line of Prometheus text: ${line.slice(0, 200)}`)
    const [, name = '', value = ''] = match
    series.set(name, Number(value.replace('Inf', 'Infinity')))
  }
  return series
}

/**
 * The sum of the series of a metric whose labels include `labels`; 0 when there are none.
 * @param name of one metric; for a histogram with its `_count`, `_sum` or `_bucket`
 */
export function sumSeries(series: Series, name: string, labels: Readonly<Record<string, string>> = {}): number {
  const wanted = Object.entries(labels).map(([label, value]) => `${label}=${JSON.stringify(value)}`)
  let sum = 0
  for (const [key, value] of series) {
    const [metric, ...rest] = key.split('{')
    const parts = `,${rest.join('{').slice(0, -1)},`
    if (metric === name && wanted.every((pair) => parts.includes(`,${pair},`))) sum += value
  }
  return sum
}
