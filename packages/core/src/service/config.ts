import { readFile } from 'node:fs/promises'
import { distance } from 'fastest-levenshtein'
import type { Static, TObject, TSchema } from 'typebox'
import { Value } from 'typebox/value'
import { parseDocument } from 'yaml'
import { CoreError } from '../errors.ts'

/** Values from one place, laid over the layers before it. */
export interface ConfigLayer {
  /** Where the values come from, as a person would say it: a file's name, `SHOAL_LOG_LEVEL`, `--set log.level`. */
  readonly source: string
  /** A nested object in the schema's shape. */
  readonly values: unknown
}

/** Options in force, and where each leaf (dotted path) came from. */
export interface LoadedConfig<T> {
  readonly values: T
  readonly sources: ReadonlyMap<string, string>
}

type Record_ = Record<string, unknown>

/** What is shown of a secret. */
const SECRET = '***'

/**
 * Lays `layers` over the schema's defaults and checks the result. Unknown keys are refused with the nearest known
 * key named. Throws CoreError `CONFIG_INVALID` whose message names the source, the key, what was expected, and what was
 * found unless the schema says `writeOnly`.
 */
export function resolveConfig<S extends TObject>(schema: S, layers: readonly ConfigLayer[]): LoadedConfig<Static<S>> {
  const sources = new Map<string, string>()
  let values: Record_ = {}
  for (const layer of layers) {
    if (layer.values === undefined || layer.values === null) continue
    if (!isRecord(layer.values)) throw invalid(layer.source, 'it must be a mapping of keys to values')
    refuseUnknownKeys(schema, layer.values, layer.source, '')
    values = merge(values, layer.values, '', (path) => sources.set(path, layer.source))
  }
  const filled = withDefaults(schema, values)
  for (const path of leaves(filled, '')) if (!sources.has(path)) sources.set(path, 'default')
  const [error] = Value.Errors(schema, filled)
  if (error !== undefined) {
    const path = error.instancePath.slice(1).replaceAll('/', '.')
    const value = Value.Pointer.Get(filled, error.instancePath)
    // A mapping says nothing that its keys do not, and may hold secrets.
    const found =
      isRecord(value) || isSecret(schema, error.instancePath.slice(1).split('/'))
        ? undefined
        : JSON.stringify(withoutCredentials(value))
    const source = sourceOf(path, sources)
    const isListWanted = error.keyword === 'type' && error.params.type === 'array'
    const hint = isListWanted ? `: write a list, such as ${path}: [${found?.slice(0, 80) ?? '…'}]` : ''
    throw invalid(
      source,
      `${path === '' ? 'the whole' : path} ${error.message}${found === undefined ? '' : ` (found ${found.slice(0, 80)})`}${hint}`,
    )
  }
  return { values: filled as Static<S>, sources }
}

/** A config file's layer. Throws CoreError `CONFIG_UNREADABLE` or `CONFIG_INVALID`. */
export async function readConfigFile(path: string): Promise<ConfigLayer> {
  let text: string
  try {
    text = await readFile(path, 'utf8')
  } catch (cause) {
    throw new CoreError(
      'CONFIG_UNREADABLE',
      `can not read the config file ${path}: check that it exists and is readable`,
      { cause },
    )
  }
  return { source: path, values: valuesOf(text, path) }
}

function valuesOf(text: string, path: string): unknown {
  try {
    const document = parseDocument(text, { uniqueKeys: true })
    const [error] = document.errors
    // What it quotes of the file may be a secret.
    const quoted = /: ".*"(?= at line )/
    if (error !== undefined) {
      throw invalid(path, `it is not YAML: ${error.message.split('\n')[0]?.replace(quoted, '')}`)
    }
    return document.toJS({ maxAliasCount: 0 }) as unknown
  } catch (cause) {
    if (cause instanceof CoreError) throw cause
    const why =
      cause instanceof ReferenceError
        ? 'it has aliases (*name), which are not resolved: write out what they stand for'
        : 'it can not be read: its mappings and lists may be nested too deep'
    throw new CoreError('CONFIG_INVALID', `${path}: ${why}`, { cause })
  }
}

/** What the names of our environment variables begin with. */
const PREFIX = 'SHOAL_'
/**
 * What Kubernetes sets in every pod for a Service of the namespace, here one named `shoal` or `shoal-…`: besides
 * `SHOAL_PORT=tcp://10.0.0.7:5000` these. Source: kubernetes.io, "Accessing the Service".
 */
const SERVICE_LINK = /_(?:SERVICE_HOST|SERVICE_PORT(?:_.+)?|PORT_[0-9]+_(?:TCP|UDP|SCTP)(?:_(?:PROTO|PORT|ADDR))?)$/
const SERVICE_LINK_URL = /^(?:tcp|udp|sctp):\/\//

type Environment = Readonly<Record<string, string | undefined>>

/**
 * The layers that environment variables make: `SHOAL_LANE_PORT=1` sets `lane.port`. A word of a key is split where
 * its schema has capitals (`laneHost` is `LANE_HOST`). Variables that name no key are left alone.
 */
export function environmentLayers(schema: TObject, environment: Environment): ConfigLayer[] {
  const layers: ConfigLayer[] = []
  for (const [path, leaf] of schemaLeaves(schema, [])) {
    const name = environmentVariable(path)
    const text = isServiceLink(name, environment) ? undefined : environment[name]
    if (text !== undefined) layers.push({ source: name, values: nest(path, scalar(text, leaf)) })
  }
  return layers
}

/** The variable that sets the option at `path`. */
export function environmentVariable(path: readonly string[]): string {
  return `${PREFIX}${path
    .map((key) => key.replace(/[A-Z]/g, '_$&'))
    .join('_')
    .toUpperCase()}`
}

/** All variables that set an option of `schema`. */
export function environmentVariables(schema: TObject): ReadonlySet<string> {
  return new Set(Array.from(schemaLeaves(schema, []), ([path]) => environmentVariable(path)))
}

/** The variables of an environment that are meant for us: those named `SHOAL_…` that Kubernetes did not set for a Service. */
export function ownVariables(environment: Environment): string[] {
  return Object.keys(environment).filter((name) => name.startsWith(PREFIX) && !isServiceLink(name, environment))
}

/** Throws CoreError `CONFIG_INVALID` that names the nearest of the known variables. */
export function refuseUnknownVariables(names: Iterable<string>, known: ReadonlySet<string>): void {
  for (const name of names) {
    if (known.has(name)) continue
    const near = nearest(name, [...known])
    const hint = near === undefined ? 'docs/configuration.md lists all options' : `did you mean ${near}?`
    throw invalid(name, `no option has this variable; ${hint}`)
  }
}

function isServiceLink(name: string, environment: Environment): boolean {
  return SERVICE_LINK.test(name) || (name.endsWith('_PORT') && SERVICE_LINK_URL.test(environment[name] ?? ''))
}

/** The layer of one `--set a.b=value`. Throws CoreError `CONFIG_INVALID`. */
export function settingLayer(schema: TObject, setting: string): ConfigLayer {
  const equals = setting.indexOf('=')
  if (equals < 1)
    throw invalid(`--set ${withoutCredentials(setting)}`, 'write --set key=value, for example --set log.level=debug')
  const path = setting.slice(0, equals).split('.')
  let at: TSchema | undefined = schema
  for (const key of path) at = propertiesOf(at)?.[key] ?? patternOf(at)
  return { source: `--set ${path.join('.')}`, values: nest(path, scalar(setting.slice(equals + 1), at)) }
}

/** `Value.Default`, in the entries of records too, which it leaves as they are. */
function withDefaults(schema: TSchema, values: unknown): unknown {
  const filled: unknown = Value.Default(schema, values)
  if (!isRecord(filled)) return filled
  const fill = ([key, value]: [string, unknown]) => {
    const below = propertiesOf(schema)?.[key] ?? patternOf(schema)
    return [key, below === undefined ? value : withDefaults(below, value)]
  }
  return Object.fromEntries(Object.entries(filled).map(fill))
}

/** Whether the option at `path`, or one that it belongs to, is `writeOnly`. Source: JSON Schema 2020-12, Validation §9.4. */
function isSecret(schema: TSchema, path: readonly string[]): boolean {
  let at: TSchema | undefined = schema
  for (const key of path) {
    at = propertiesOf(at)?.[key] ?? patternOf(at)
    if ((at as { writeOnly?: boolean } | undefined)?.writeOnly === true) return true
  }
  return false
}

/**
 * A value to be shown to people: `***` in place of who logs in and with what password, in URLs and what may be meant as
 * ones (`redis://user:password@host`, `user:password@host`), wherever they are.
 */
function withoutCredentials(value: unknown): unknown {
  if (typeof value === 'string')
    return value.replace(CREDENTIALS, (_, scheme: string | undefined) => `${scheme ?? ''}${SECRET}@`)
  if (Array.isArray(value)) return value.map(withoutCredentials)
  if (!isRecord(value)) return value
  return Object.fromEntries(Object.entries(value).map(([key, below]) => [key, withoutCredentials(below)]))
}

/** Up to the last `@`: passwords that nobody encoded may have any character. */
const CREDENTIALS = /(:\/\/)[^\s]*@|(?<!\S)[^\s:@/]*:[^\s]*@/g

/** `values` with `***` in place of each that the schema says is `writeOnly`, and of credentials: to be shown to people. */
export function withoutSecrets(schema: TSchema, values: Readonly<Record_>): Record_ {
  const hide = (value: unknown): unknown =>
    isRecord(value) ? Object.fromEntries(Object.entries(value).map(([key, below]) => [key, hide(below)])) : SECRET
  const show = ([key, value]: [string, unknown]) => {
    const below = propertiesOf(schema)?.[key] ?? patternOf(schema)
    if (below === undefined) return [key, withoutCredentials(value)]
    if ((below as { writeOnly?: boolean }).writeOnly === true) return [key, hide(value)]
    return [key, isRecord(value) ? withoutSecrets(below, value) : withoutCredentials(value)]
  }
  return Object.fromEntries(Object.entries(values).map(show))
}

function refuseUnknownKeys(schema: TSchema, values: Record_, source: string, prefix: string): void {
  const properties = propertiesOf(schema)
  for (const [key, value] of Object.entries(values)) {
    const known = properties?.[key] ?? patternOf(schema)
    if (known === undefined) {
      const near = nearest(key, Object.keys(properties ?? {}))
      const hint =
        near === undefined
          ? `known keys: ${Object.keys(properties ?? {}).join(', ')}`
          : `did you mean "${prefix}${near}"?`
      throw invalid(source, `unknown key "${prefix}${key}"; ${hint}`)
    }
    if (isRecord(value)) refuseUnknownKeys(known, value, source, `${prefix}${key}.`)
  }
}

function nearest(key: string, known: readonly string[]): string | undefined {
  const ranked = known.map((name) => ({ name, far: distance(key.toLowerCase(), name.toLowerCase()) }))
  ranked.sort((a, b) => a.far - b.far)
  const [best] = ranked
  return best !== undefined && best.far <= Math.max(2, Math.ceil(key.length / 3)) ? best.name : undefined
}

function propertiesOf(schema: TSchema | undefined): Readonly<Record<string, TSchema>> | undefined {
  const properties = (schema as { properties?: Record<string, TSchema> } | undefined)?.properties
  return properties
}

/** The value schema of a TypeBox `Record`, whose keys are free. */
function patternOf(schema: TSchema | undefined): TSchema | undefined {
  const patterns = (schema as { patternProperties?: Record<string, TSchema> } | undefined)?.patternProperties
  return patterns === undefined ? undefined : Object.values(patterns)[0]
}

function* schemaLeaves(schema: TSchema, path: readonly string[]): Generator<[string[], TSchema]> {
  for (const [key, child] of Object.entries(propertiesOf(schema) ?? {})) {
    if (propertiesOf(child) === undefined) yield [[...path, key], child]
    else yield* schemaLeaves(child, [...path, key])
  }
}

/** A text setting as its schema's type has it; text that does not fit stays text, for the check to refuse. */
function scalar(text: string, schema: TSchema | undefined): unknown {
  const type = (schema as { type?: string } | undefined)?.type
  if (type === 'string' || type === undefined) return text
  if (type === 'array') return text === '' ? [] : text.split(',')
  if (type === 'boolean') return text === 'true' ? true : text === 'false' ? false : text
  return text.trim() !== '' && Number.isFinite(Number(text)) ? Number(text) : text
}

function nest(path: readonly string[], value: unknown): Record_ {
  return path.reduceRight<unknown>((inner, key) => ({ [key]: inner }), value) as Record_
}

function merge(under: Record_, over: Record_, prefix: string, set: (path: string) => void): Record_ {
  const merged = { ...under }
  for (const [key, value] of Object.entries(over)) {
    if (isRecord(value)) {
      const below = merged[key]
      merged[key] = merge(isRecord(below) ? below : {}, value, `${prefix}${key}.`, set)
    } else {
      merged[key] = value
      set(prefix + key)
    }
  }
  return merged
}

function* leaves(value: unknown, path: string): Generator<string> {
  if (!isRecord(value)) yield path
  else for (const [key, child] of Object.entries(value)) yield* leaves(child, path === '' ? key : `${path}.${key}`)
}

function sourceOf(path: string, sources: ReadonlyMap<string, string>): string {
  for (let at = path; at !== ''; at = at.slice(0, Math.max(0, at.lastIndexOf('.')))) {
    const source = sources.get(at)
    if (source !== undefined) return source
  }
  return 'config'
}

function isRecord(value: unknown): value is Record_ {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function invalid(source: string, why: string): CoreError {
  return new CoreError('CONFIG_INVALID', `${source}: ${why}`)
}
