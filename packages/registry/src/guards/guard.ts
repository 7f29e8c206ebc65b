import type { FastifyRequest } from 'fastify'

/** Throws a RegistryError when a request may not be looked at at all, whatever it asks for. */
export type Guard = (request: FastifyRequest) => void
