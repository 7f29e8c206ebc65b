/**
 * Reads the command line with `read`, which gives undefined when help is wanted and throws what is wrong. Returns the
 * options; or, when there is nothing to run, the exit code, after it has printed why or the help.
 */
export function optionsOrExitCode<Options extends object>(
  read: () => Options | undefined,
  help: string,
): Options | number {
  try {
    const options = read()
    if (options !== undefined) return options
    process.stdout.write(`${help}\n`)
    return 0
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : error}\nWith --help this says what it takes.\n`)
    return 2
  }
}
