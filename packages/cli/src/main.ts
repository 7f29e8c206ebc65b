#!/usr/bin/env node
import './heap.ts'
import { errorChain, ShoalError } from '@shoal/core'
import { CommanderError } from 'commander'
import { createProgram } from './program.ts'

const { env: environment, stdout, stderr } = process
const program = createProgram({ file: import.meta.filename, environment, stdout, stderr })
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
