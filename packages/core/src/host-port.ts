const HOST_PORT = /^(?:\[([0-9a-f:.%]+)\]|([a-z0-9._-]+)):([1-9][0-9]{0,4})$/
const MAX_PORT = 65535

/**
 * The parts of `host:port` or `[IPv6 address]:port`, in small letters; undefined when the text is neither. Whether the
 * host exists is not looked at.
 */
export function parseHostPort(text: string): { readonly host: string; readonly port: number } | undefined {
  const [, address, name, digits] = HOST_PORT.exec(text.trim().toLowerCase()) ?? []
  const host = address ?? name
  const port = Number(digits)
  return host !== undefined && port <= MAX_PORT ? { host, port } : undefined
}

/** `host:port`, an IPv6 address in brackets. */
export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`
}
