import { parseHostPort } from '@shoal/core'
import { InvalidArgumentError } from 'commander'

/** The URL of a node's admin door, from a URL or `host:port`. Throws InvalidArgumentError that says what to write. */
export function parseNodeAddress(text: string): string {
  const isBare = parseHostPort(text) !== undefined
  const url = URL.parse(isBare ? `http://${text}` : text)
  if (url === null || !/^https?:$/.test(url.protocol) || url.pathname !== '/' || url.search !== '') {
    throw new InvalidArgumentError('write host:port, or a URL such as http://127.0.0.1:7413')
  }
  return url.origin
}
