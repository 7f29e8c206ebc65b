/*
 * The grammar of names, read character by character and without regular expressions: for tests to compare with what
 * the code makes of it. Source: OCI distribution-spec 1.1, "Pulling manifests"; image-spec, descriptor.md, "Digests".
 */

const LOWER = 'abcdefghijklmnopqrstuvwxyz'
const DIGITS = '0123456789'
const WORD = `${LOWER}${LOWER.toUpperCase()}${DIGITS}_`
const HEX = `${DIGITS}abcdef`

const isAll = (text: string, characters: string) => [...text].every((character) => characters.includes(character))

/** Between two alphanumeric runs of a name's component: `.`, `_`, `__`, or any number of `-`. */
const isSeparator = (text: string) => text === '.' || text === '_' || text === '__' || isAll(text, '-')

function isComponent(text: string): boolean {
  const alphanumeric = LOWER + DIGITS
  const [first = '', last = ''] = [text.at(0), text.at(-1)]
  if (first === '' || !alphanumeric.includes(first) || !alphanumeric.includes(last)) return false
  let separator = ''
  for (const character of text) {
    if (!alphanumeric.includes(character)) {
      separator += character
    } else {
      if (separator !== '' && !isSeparator(separator)) return false
      separator = ''
    }
  }
  return true
}

export function isNameByGrammar(text: string): boolean {
  return text.length <= 255 && text.split('/').every(isComponent)
}

export function isTagByGrammar(text: string): boolean {
  const [first = ''] = text
  return text.length >= 1 && text.length <= 128 && WORD.includes(first) && isAll(text, `${WORD}.-`)
}

/** A registered digest that is accepted. */
export function isDigestByGrammar(text: string): boolean {
  const colon = text.indexOf(':')
  const length = new Map([
    ['sha256', 64],
    ['sha512', 128],
  ]).get(text.slice(0, Math.max(0, colon)))
  const encoded = text.slice(colon + 1)
  return length !== undefined && encoded.length === length && isAll(encoded, HEX)
}

/** `host[:port]`: DNS labels or an IPv4 address, or an IPv6 address in brackets. */
export function isHostByGrammar(text: string): boolean {
  if (text.length > 261) return false
  const end = text.startsWith('[') ? text.indexOf(']') + 1 : text.includes(':') ? text.indexOf(':') : text.length
  const [host, port] = [text.slice(0, end), text.slice(end)]
  const isPort =
    port === '' ||
    (port.startsWith(':') &&
      port.length >= 2 &&
      port.length <= 6 &&
      isAll(port.slice(1), DIGITS) &&
      +port.slice(1) < 65536)
  if (!isPort) return false
  if (host.startsWith('[')) {
    const address = host.slice(1, -1)
    return address.length >= 2 && address.length <= 45 && isAll(address, `${HEX}ABCDEF:`)
  }
  return host.split('.').every((label) => {
    const inside = `${LOWER}${LOWER.toUpperCase()}${DIGITS}-`
    return (
      label.length >= 1 && label.length <= 63 && isAll(label, inside) && !label.startsWith('-') && !label.endsWith('-')
    )
  })
}
