import { type BodyPart, errorChain, type Logger, writeBody } from '@shoal/core'
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
 * @param body parts of the file, and what frames them, in turn
 */
export async function sendFile(
  reply: FastifyReply,
  file: StoredFile,
  body: readonly BodyPart[],
  { sent, log }: SendFileDependencies,
): Promise<boolean> {
  reply.hijack()
  const response = reply.raw
  response.writeHead(reply.statusCode, reply.getHeaders() as Record<string, string>)
  try {
    for (const part of body) {
      for await (const chunk of part instanceof Uint8Array ? [part] : file.chunks(part)) {
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
