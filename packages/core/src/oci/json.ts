/** How much a JSON text may make a reader build. */
export interface JsonBounds {
  /** Objects and lists within each other. */
  readonly maxDepth: number
  /** Objects, lists, strings, numbers, booleans and nulls, all told; names of members do not count. */
  readonly maxValues: number
}

/** What a walk over the structure of a JSON text finds. */
export interface JsonOutline {
  /** Which bound the text goes past; undefined when it keeps both. The walk ends there. */
  readonly exceeds?: keyof JsonBounds
  /** Of the wanted members of the outermost object, where the value begins and ends in the text. */
  readonly members: ReadonlyMap<string, readonly [start: number, end: number]>
}

const QUOTE = 0x22
const BACKSLASH = 0x5c
const COLON = 0x3a
/** Kinds of bytes: `MARK` is a quote, a colon or a comma; a scalar is a number, `true`, `false` or `null`. */
const SCALAR = 0
const SPACE = 1
const MARK = 2
const OPEN = 3
const CLOSE = 4
const KINDS = new Uint8Array(256)
for (const [kind, bytes] of [
  [SPACE, '\t\n\r '],
  [MARK, '":,'],
  [OPEN, '[{'],
  [CLOSE, ']}'],
] as const) {
  for (const byte of Buffer.from(bytes)) KINDS[byte] = kind
}
/** Longer names are not looked at: nobody wants such a member. */
const MAX_NAME_BYTES = 128
/** In longer strings the end is looked for natively. */
const SHORT_BYTES = 64

/**
 * Walks over a JSON text once, byte by byte, and builds nothing: what a text of 4 MiB would make of the heap (1.3 million
 * empty objects, 800 MiB) is known after some milliseconds. Of a name that is there twice the last value counts, as with
 * `JSON.parse`. It does not find out whether the text is JSON; of one that is not it may say anything.
 * @param wanted names of members of the outermost object, in ASCII
 */
export function outlineJson(text: Uint8Array, bounds: JsonBounds, wanted: readonly string[] = []): JsonOutline {
  const { maxDepth, maxValues } = bounds
  const kinds = KINDS
  const members = new Map<string, readonly [number, number]>()
  let depth = 0
  let values = 0
  let isInScalar = false
  /** The last string of the outermost object, which is a name when a colon follows. */
  let stringAt = 0
  let stringEnd = 0
  let name: string | undefined
  let valueAt = 0
  for (let at = 0; at < text.length; at++) {
    const byte = text[at] as number
    const kind = kinds[byte] as number
    if (kind === SCALAR) {
      if (!isInScalar) values++
      isInScalar = true
      continue
    }
    isInScalar = false
    if (kind === SPACE) continue
    if (byte === QUOTE) {
      const end = endOfString(text, at)
      if (depth === 1) {
        stringAt = at
        stringEnd = end
      }
      values++
      at = end - 1
    } else if (byte === COLON) {
      // The string before was a name.
      values--
      if (depth === 1) {
        name = wantedName(text, stringAt, stringEnd, wanted)
        valueAt = at + 1
      }
    } else {
      if (depth === 1 && kind !== OPEN) {
        if (name !== undefined) members.set(name, [valueAt, at])
        name = undefined
      }
      if (kind === OPEN) {
        values++
        depth++
        if (depth > maxDepth) return { exceeds: 'maxDepth', members }
      } else if (kind === CLOSE) {
        depth--
      }
    }
    // One more than there may be can be a name.
    if (values > maxValues + 1) return { exceeds: 'maxValues', members }
  }
  return values > maxValues ? { exceeds: 'maxValues', members } : { members }
}

/** Where the string that begins at `start` is over. */
function endOfString(text: Uint8Array, start: number): number {
  let at = start + 1
  for (const near = Math.min(text.length, at + SHORT_BYTES); at < near; at++) {
    const byte = text[at]
    if (byte === BACKSLASH) at++
    else if (byte === QUOTE) return at + 1
  }
  for (let quote = text.indexOf(QUOTE, at); quote >= 0; quote = text.indexOf(QUOTE, quote + 1)) {
    let escapes = quote
    while (escapes > at && text[escapes - 1] === BACKSLASH) escapes--
    if ((quote - escapes) % 2 === 0) return quote + 1
    at = quote + 1
  }
  return text.length
}

function wantedName(text: Uint8Array, start: number, end: number, wanted: readonly string[]): string | undefined {
  if (end - start > MAX_NAME_BYTES) return undefined
  for (let at = start + 1; at < end - 1; at++) {
    if (text[at] !== BACKSLASH) continue
    const name = tryParseJson(text.subarray(start, end))
    return wanted.find((each) => each === name)
  }
  return wanted.find((each) => isAscii(text, start + 1, end - 1, each))
}

function isAscii(text: Uint8Array, start: number, end: number, name: string): boolean {
  if (end - start !== name.length) return false
  for (let at = 0; at < name.length; at++) if (text[start + at] !== name.charCodeAt(at)) return false
  return true
}

/** The value of a JSON text in UTF-8; undefined when it is none. */
export function tryParseJson(text: Uint8Array): unknown {
  try {
    return JSON.parse(DECODER.decode(text))
  } catch {
    return undefined
  }
}

const DECODER = new TextDecoder('utf-8', { fatal: true })
