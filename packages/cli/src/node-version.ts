const OLDEST_MAJOR = 26

/** What `refuseOldNode` touches of the process. */
interface NodeProcess {
  readonly version: string
  readonly stderr: { write(text: string): unknown }
  exit(code: number): void
}

/** Ends the process, and says what to do, when it runs on a Node that Shoal does not run on. */
export function refuseOldNode({ version, stderr, exit }: NodeProcess): void {
  if (Number.parseInt(version.slice(1), 10) >= OLDEST_MAJOR) return
  stderr.write(
    `shoal: Shoal needs Node ${OLDEST_MAJOR} or newer, and this is ${version}: start it with npx shoal, which uses the Node that npm ci installed\n`,
  )
  exit(1)
}
