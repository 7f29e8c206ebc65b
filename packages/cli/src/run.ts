import { errorChain, ShoalError } from '@shoal/core'
import { CommanderError } from 'commander'
import { createProgram } from './program.ts'

/**
 * Does what the command line says; the process ends with it.
 * @param file what was started, which is started again for the parts of `shoal up`
 */
export async function run(file: string): Promise<never> {
  const { env: environment, stdout, stderr } = process
  const program = createProgram({ file, environment, stdout, stderr })
  try {
    await program.parseAsync(process.argv)
    // A signal may have come while something that holds the process open was being closed.
    process.exit(process.exitCode ?? 0)
  } catch (error) {
    if (error instanceof CommanderError) process.exit(error.exitCode === 0 ? 0 : 2)
    const isExpected = error instanceof ShoalError
    process.stderr.write(`shoal: ${isExpected ? errorChain(error) : ((error as Error)?.stack ?? String(error))}\n`)
    process.exit(1)
  }
}
