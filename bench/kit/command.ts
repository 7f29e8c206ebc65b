import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'

/** Runs a command, with these lines as its input; returns its output. Throws with what it wrote when it fails. */
export async function run(command: string, args: readonly string[], lines: readonly string[] = []): Promise<string> {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'pipe'] })
  // A command that reads no input may be gone before it is written; its exit code tells what counts.
  child.stdin.on('error', () => {})
  child.stdin.end(lines.map((line) => `${line}\n`).join(''))
  const [out, wrote, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} failed: ${wrote.trim()}`)
  return out
}
