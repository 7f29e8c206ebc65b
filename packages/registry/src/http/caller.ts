import { isIP, type Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'

/** A name or an address, and a port. */
const HOST = /^(?:[\w.-]{1,255}|\[[0-9a-f:.]{2,45}\])(?::\d{1,5})?$/i

/** The address that a request is from: of its connection, or the one that a trusted proxy names. */
export function ipOf(request: FastifyRequest): string {
  const { ip, socket } = request
  return isIP(ip) === 0 ? (socket.remoteAddress ?? '') : ip
}

/** As `ipOf`, with the port where that is known. */
export function callerOf(request: FastifyRequest): string {
  const ip = ipOf(request)
  return ip === request.socket.remoteAddress ? addressOf(request.socket) : ip
}

/** `address:port` of the other end. */
export function addressOf({ remoteAddress = '', remotePort = 0 }: Partial<Socket>): string {
  return `${remoteAddress.includes(':') ? `[${remoteAddress}]` : remoteAddress}:${remotePort}`
}

/** Where the client reaches this registry, like `https://registry.corp:5000`; undefined when it said nothing usable. */
export function baseUrlOf({ protocol, host }: FastifyRequest): string | undefined {
  if (!HOST.test(host)) return undefined
  return `${protocol === 'https' ? 'https' : 'http'}://${host}`
}
