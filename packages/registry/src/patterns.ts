import { CoreError } from '@shoal/core'
import { RE2JS } from 're2js'

/** A pattern of the configuration. To match a text takes time in proportion to its length, whatever the pattern is. */
export interface Pattern {
  /** Whether the whole text is as the pattern says. */
  matches(text: string): boolean
}

/**
 * A regular expression in RE2's syntax: as elsewhere, but without look-around and back-references, which cannot be
 * matched in linear time.
 * @param where option that it is from
 * @throws CoreError `CONFIG_INVALID`
 */
export function compileRegex(text: string, where: string): Pattern {
  try {
    const regex = RE2JS.compile(text)
    return { matches: (name) => regex.testExact(name) }
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.replace(/^error parsing regexp: /, '') : String(cause)
    throw new CoreError(
      'CONFIG_INVALID',
      `${where}: "${text}" is not a regular expression that can be used: ${why} (the syntax is RE2's: no look-ahead, look-behind or back-references)`,
      { cause },
    )
  }
}

/** A part of a glob: what it is made of, or what we do not support. */
const TOKEN = /\*\*\/|\/\*\*$|\*+|\?|\[[!^]?[^\]/]+\]|[{},\\()+@!|[\]]|[^*?[\]{},\\()+@!|]/gy

/**
 * A glob for names of repositories: `*` is any characters of one part, `?` one of them, `[a-z]` and `[!a-z]` one of or
 * not of these, `**` as a part any number of parts, `{a,b}` one of several.
 * @param where option that it is from
 * @throws CoreError `CONFIG_INVALID`
 */
export function compileGlob(glob: string, where: string): Pattern {
  const unsupported = () =>
    new CoreError(
      'CONFIG_INVALID',
      `${where}: "${glob}" is not a glob that can be used: it may have *, ?, [a-z], {a,b}, and ** between slashes`,
    )
  // Several such parts in a row are one.
  const shortest = glob.replace(/(?<=^|\/)(?:\*\*\/)+(?=\*\*(?:\/|$))/g, '')
  if (shortest === '**') return { matches: () => true }
  let regex = ''
  let depth = 0
  for (const [token] of shortest.matchAll(TOKEN)) {
    if (token === '**/') regex += regex === '' || regex.endsWith('/') ? '(?:[^/]+/)*' : '[^/]*/'
    else if (token === '/**') regex += '/.+'
    else if (token.startsWith('*')) regex += '[^/]*'
    else if (token === '?') regex += '[^/]'
    else if (token === '{') {
      regex += '(?:'
      depth++
    } else if (token === '}') {
      regex += ')'
      depth--
    } else if (token === ',') regex += depth > 0 ? '|' : ','
    else if (/^\[.+\]$/.test(token)) regex += `[${token.slice(1, -1).replace(/^!/, '^').replaceAll('[', '\\[')}]`
    else if (/[\\()+@!|[\]]/.test(token)) throw unsupported()
    else regex += token.replace(/[.$^]/, '\\$&')
    if (depth < 0) throw unsupported()
  }
  if (depth !== 0) throw unsupported()
  return compileRegex(regex, where)
}
