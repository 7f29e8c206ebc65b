import type { ServiceDefinition } from '@shoal/core/service'

interface Described {
  readonly description?: string
  readonly default?: unknown
  readonly type?: string
  readonly properties?: Readonly<Record<string, Described>>
  readonly patternProperties?: Readonly<Record<string, Described>>
}

/** The options of a schema as a Markdown table: key, default, meaning. */
export function referenceTable(schema: ServiceDefinition['schema']): string {
  const rows = [...rowsOf(schema as Described, '')]
  return ['| key | default | meaning |', '| --- | --- | --- |', ...rows].join('\n')
}

function* rowsOf(schema: Described, prefix: string): Generator<string> {
  for (const [key, child] of Object.entries(schema.properties ?? {})) {
    const path = prefix + key
    const [entry] = Object.values(child.patternProperties ?? {})
    if (child.properties !== undefined) yield* rowsOf(child, `${path}.`)
    else yield `| \`${path}\` | ${defaultOf(child)} | ${child.description ?? ''} |`
    if (entry?.properties !== undefined) yield* rowsOf(entry, `${path}.<name>.`)
  }
}

function defaultOf({ default: value }: Described): string {
  if (value === undefined) return '–'
  return value === '' ? 'empty' : `\`${JSON.stringify(value).replaceAll('"', '')}\``
}
