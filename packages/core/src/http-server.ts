import type { FastifyInstance } from 'fastify'
import { CoreError, systemErrorCode } from './errors.ts'

/** Listens, with errors a person can act on. Throws CoreError `PORT_IN_USE` or `LISTEN_FAILED`. Returns the port. */
export async function listen(server: FastifyInstance, what: string, host: string, port: number): Promise<number> {
  try {
    await server.listen({ host, port })
  } catch (cause) {
    throw listenError(what, host, port, cause)
  }
  const address = server.server.address()
  return address !== null && typeof address === 'object' ? address.port : port
}

/** The error to throw when `what` can not listen on `host:port`. */
export function listenError(what: string, host: string, port: number, cause: unknown): CoreError {
  const code = systemErrorCode(cause)
  if (code === 'EADDRINUSE') {
    return new CoreError(
      'PORT_IN_USE',
      `${what} can not listen on ${host}:${port}: the port is in use; stop what uses it, or configure another port`,
      { cause },
    )
  }
  return new CoreError(
    'LISTEN_FAILED',
    `${what} can not listen on ${host}:${port} (${code ?? 'unknown error'}): check the address and the permissions`,
    { cause },
  )
}
