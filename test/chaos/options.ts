import { parseArgs } from 'node:util'
import { numberOf, size } from '@shoal/bench'
import type { Row } from './row.ts'
import { REFERENCE, ROWS } from './rows.ts'

/** What is to be run. */
export interface ChaosOptions {
  /** The reference first. */
  readonly rows: readonly Row[]
  /** Of each row. */
  readonly runs: number
  /** Of the blob that is pulled. */
  readonly blobBytes: number
  /** Whether real runtimes pull it too. */
  readonly hasRuntimes: boolean
  readonly isStrict: boolean
  readonly isJson: boolean
}

export const HELP = `Breaks a cluster of real processes in the middle of a pull, one fault a row, and says what that did to the pull.

  npm run --silent test:chaos -- [options]

  --rows all|A,B,...  which rows (all); "${REFERENCE.name}" is run in any case, the others are compared with it
  --runs N            of each row, each with a cluster of its own (1)
  --blob SIZE         what all peers pull at once (32MiB)
  --runtimes          a containerd and a Docker pull it too, as the layer of an image, and must succeed at the first try
  --strict            fail where nothing can be run; also with CI=true
  --json              one line of JSON
  --help              this

It ends with 1 when a pull failed, a byte was wrong, or a row could not be carried out. It needs root, ip and tc.

${ROWS.map(({ name, fault }) => `  ${name.padEnd(24)}${fault}`).join('\n')}`

/** Reads the command line; undefined: help is wanted. Throws Error that says what is wrong with it. */
export function readOptions(args: readonly string[], isCi: boolean): ChaosOptions | undefined {
  const text = { type: 'string' } as const
  const flag = { type: 'boolean', default: false } as const
  const { values } = parseArgs({
    args: [...args],
    options: { rows: text, runs: text, blob: text, strict: flag, runtimes: flag, json: flag, help: flag },
  })
  if (values.help) return undefined
  const blobBytes = size('blob', values.blob ?? '32MiB')
  if (values.runtimes && blobBytes % 1024 !== 0)
    throw new Error('--runtimes wants a --blob of whole KiB, to be a layer')
  return {
    rows: rowsNamed(values.rows ?? 'all'),
    runs: numberOf('runs', values.runs, 1, 1, 100, true),
    blobBytes,
    hasRuntimes: values.runtimes,
    isStrict: values.strict || isCi,
    isJson: values.json,
  }
}

function rowsNamed(list: string): readonly Row[] {
  if (list === 'all') return ROWS
  const names = list.split(',').map((name) => name.trim())
  const unknown = names.find((name) => ROWS.every((row) => row.name !== name))
  if (unknown !== undefined) {
    throw new Error(`no row "${unknown}"; there are ${ROWS.map(({ name }) => name).join(', ')}`)
  }
  return ROWS.filter((row) => row === REFERENCE || names.includes(row.name))
}
