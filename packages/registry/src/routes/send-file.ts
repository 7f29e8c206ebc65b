import { type ByteRange, errorChain, type Logger, writeBody } from '@shoal/core'
import type { FastifyReply } from 'fastify'
import type { StoredFile } from '../storage/driver.ts'

interface SendFileDependencies {
  /** Told of body bytes once the system has taken them for the client. */
  readonly sent: (bytes: number) => void
  readonly log: Logger
}

/**
 * Sends bytes of a file as the reply's body, in large pieces, each once the one before is on its way; the read of the
 * next one overlaps. Resolves to whether all is sent: the client may have left; a file that fails half-way cuts the
 * connection, which is all that can still be told.
 * @param range undefined for no bytes
 */
export async function sendFile(
  reply: FastifyReply,
  file: StoredFile,
  range: ByteRange | undefined,
  { sent, log }: SendFileDependencies,
): Promise<boolean> {
  reply.hijack()
  const response = reply.raw
  response.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
  try {
    if (range !== undefined) {
      for await (const chunk of file.chunks(range)) {
        if (!(await writeBody(response, chunk))) return false
        sent(chunk.byteLength)
      }
    }
    response.end()
    return true
  } catch (error) {
    log.error({ error: errorChain(error) }, 'a blob could not be read to its end')
    response.destroy()
    return false
  }
}
