import type { Writable } from 'node:stream'
import { Argument, Command, InvalidArgumentError } from 'commander'
import packageJson from '../package.json' with { type: 'json' }
import { referenceTable } from './config-reference.ts'
import { describeConfig, loadServiceConfig, SERVICES } from './configure.ts'
import { invocation } from './invocation.ts'
import { parseNodeAddress } from './pull/node-address.ts'
import type { PullOptions } from './pull/pull.ts'
import { runService } from './run-service.ts'
import { DEFAULT_PORTS, type Ports } from './up/layout.ts'

/** What the commands may touch of the process. */
export interface ProgramContext {
  /** The program's own file, to start others of it. */
  readonly file: string
  readonly environment: Readonly<Record<string, string | undefined>>
  readonly stdout: Writable & { readonly isTTY?: boolean }
  readonly stderr: Writable
}

interface UpFlags extends Ports {
  readonly nodes: number
  readonly seeds: number
  readonly schedulers: number
  readonly data: string
  readonly json: boolean
  readonly logLevel: string
}

interface ConfigFlags {
  readonly config?: string
  readonly set: string[]
}

interface ArchiveFlags {
  readonly json: boolean
  readonly platform?: string
}

/** The command line of Shoal. What only one command needs is loaded by it: services are to stay small. */
export function createProgram({ file, environment, stdout, stderr }: ProgramContext): Command {
  const program = new Command('shoal')
    .description('container images, peer to peer, inside a cluster')
    .version(packageJson.version)
    .exitOverride()
    .enablePositionalOptions()
    .configureOutput({ writeOut: (text) => stdout.write(text), writeErr: (text) => stderr.write(text) })
    .showHelpAfterError(`(see ${invocation(file, environment)} --help)`)

  program
    .command('up')
    .description('start a whole network on this machine: registry, schedulers, seeds and peers')
    .option('--nodes <n>', 'how many peers', wholeNumber(1, 9), 3)
    .option('--seeds <n>', 'how many seeds', wholeNumber(0, 8), 1)
    .option('--schedulers <n>', 'how many schedulers, which share the blobs', wholeNumber(1, 5), 1)
    .option('--registry-port <n>', 'of the registry; its metrics have the next one', port, DEFAULT_PORTS.registryPort)
    .option('--scheduler-port <n>', 'of the first scheduler; up in twos', port, DEFAULT_PORTS.schedulerPort)
    .option('--peer-port <n>', 'of the first peer; up in tens', port, DEFAULT_PORTS.peerPort)
    .option('--seed-port <n>', 'of the first seed; down in tens', port, DEFAULT_PORTS.seedPort)
    .option('--data <dir>', 'folder for all data, configs and logs', './data')
    .option('--json', 'print one line of JSON with all addresses once ready', false)
    .option('--log-level <level>', 'what the services write into their log files', 'info')
    .action(async (options: UpFlags) => {
      const { up } = await import('./up/up.ts')
      await up({ ...options, program: file, environment }, { stdout, stderr })
    })

  for (const service of SERVICES) {
    const command = withConfig(program.command(service.name).description(service.summary)).action(
      (flags: ConfigFlags) => service.load().then((definition) => runService(definition, { ...flags, environment })),
    )
    if (service.name === 'registry') addStorageCommands(command)
  }

  program
    .command('pull')
    .description('bring an image to a node and show where its pieces come from')
    .argument('<ref>', 'image reference, e.g. 127.0.0.1:5000/app:1')
    .option('--node <address>', "the node's admin door, host:port or URL", parseNodeAddress, 'http://127.0.0.1:7413')
    .option(
      '--platform <os/arch>',
      'which image of an index',
      `linux/${process.arch === 'x64' ? 'amd64' : process.arch}`,
    )
    .option('--username <name>', 'account at the registry; the password is asked for')
    .option('--password-stdin', 'read the password from standard input')
    .action(async (ref: string, options: PullOptions) => {
      const { pullImage } = await import('./pull/pull.ts')
      await pullImage(ref, options, { stdout, stderr, stdin: process.stdin })
    })

  program
    .command('scrub')
    .description('have a node check all its blobs against their digests; exits with 1 when some were damaged')
    .option('--node <address>', "the node's admin door, host:port or URL", parseNodeAddress, 'http://127.0.0.1:7413')
    .action(async (options: { node: string }) => {
      const { scrubNode } = await import('./scrub.ts')
      await scrubNode(options, { stdout })
    })

  const config = program.command('config').description('look at configuration')
  withConfig(
    config
      .command('print')
      .description('print the options in force and where each value came from')
      .addArgument(new Argument('<service>', 'whose options').choices(SERVICES.map(({ name }) => name))),
  ).action(async (name: string, flags: ConfigFlags) => {
    const definition = await SERVICES.find((known) => known.name === name)?.load()
    if (definition !== undefined) {
      stdout.write(describeConfig(definition, await loadServiceConfig(definition, { ...flags, environment })))
    }
  })
  config
    .command('reference')
    .description('print all options of all services, as docs/configuration.md has them')
    .action(async () => {
      for (const { name, summary, load } of SERVICES) {
        const { schema } = await load()
        stdout.write(`\n## ${name}\n\n\`shoal ${name}\` ${summary}.\n\n${referenceTable(schema)}\n`)
      }
    })
  return program

  function addStorageCommands(registry: Command): void {
    // Options after the name of such a command are its own.
    registry.enablePositionalOptions()
    withConfig(registry.command('verify'))
      .description(
        'check all that the registry stores, which may run meanwhile; exits with 1 when something is damaged',
      )
      .option('--json', 'print one line of JSON', false)
      .action(async (flags: ConfigFlags & { json: boolean }) => {
        const { verifyRegistry } = await import('./verify.ts')
        await verifyRegistry({ ...flags, environment }, { stdout })
      })
    withConfig(registry.command('scrub'))
      .description('verify, and take what is damaged out of the way, so that a push or the next pull brings it again')
      .option('--json', 'print one line of JSON', false)
      .action(async (flags: ConfigFlags & { json: boolean }) => {
        const { verifyRegistry } = await import('./verify.ts')
        await verifyRegistry({ ...flags, environment, isScrub: true }, { stdout })
      })
    withConfig(registry.command('export'))
      .argument('<images...>', 'name:tag, name@digest, or a name for all its tags')
      .description('write images, with their signatures and SBOMs, to a tar; the registry may run meanwhile')
      .requiredOption('--to <file>', 'the tar, an OCI image layout; - for standard output')
      .option('--platform <os/arch>', 'of images for several platforms only the one for this, e.g. linux/arm64')
      .option('--json', 'print one line of JSON', false)
      .action(async (images: string[], flags: ConfigFlags & ArchiveFlags & { to: string }) => {
        const { exportFromRegistry } = await import('./archive.ts')
        await exportFromRegistry({ ...flags, images, environment }, { stdout, stderr })
      })
    withConfig(registry.command('import'))
      .argument(
        '<file>',
        'an OCI image layout or what docker save writes, as a tar, gzipped or not; - for standard input',
      )
      .description('take the images of a tar into the storage of a registry that does not run')
      .option('--as <name[:tag]>', 'what they are called here; as the tar calls them without it')
      .option('--platform <os/arch>', 'of images for several platforms only the one for this, e.g. linux/arm64')
      .option('--json', 'print one line of JSON', false)
      .action(async (from: string, flags: ConfigFlags & ArchiveFlags & { as?: string }) => {
        const { importIntoRegistry } = await import('./archive.ts')
        await importIntoRegistry({ ...flags, from, environment }, { stdout, stderr })
      })
    withConfig(registry.command('backup'))
      .description('copy what the registry stores, which may run meanwhile, into a folder that a registry can serve')
      .requiredOption(
        '--to <folder>',
        'where to; what an earlier backup left there is used, and only what is new copied',
      )
      .option('--json', 'print one line of JSON', false)
      .action(async (flags: ConfigFlags & { json: boolean; to: string }) => {
        const { backUpRegistry } = await import('./backup.ts')
        await backUpRegistry({ ...flags, environment }, { stdout })
      })
    withConfig(registry.command('restore'))
      .description('copy a backup into the storage of a registry that does not run, checking every file of it')
      .requiredOption('--from <folder>', 'where the backup is')
      .option('--merge', 'into a storage that is not empty: tags of the backup take the place of those there', false)
      .option('--json', 'print one line of JSON', false)
      .action(async (flags: ConfigFlags & { json: boolean; from: string; merge: boolean }) => {
        const { restoreRegistry } = await import('./backup.ts')
        await restoreRegistry({ ...flags, environment }, { stdout })
      })
    withConfig(registry.command('gc'))
      .description('remove what no image needs from the storage of a registry that does not run, as its gc options say')
      .option('--dry-run', 'only count what would be removed', false)
      .option('--json', 'print one line of JSON', false)
      .action(async (flags: ConfigFlags & { json: boolean; dryRun: boolean }) => {
        const { collectGarbage } = await import('./gc.ts')
        await collectGarbage({ ...flags, environment }, { stdout })
      })
  }
}

function withConfig(command: Command): Command {
  return command
    .option('--config <file>', 'YAML file with options')
    .option('--set <key=value>', 'one option, e.g. --set log.level=debug; may be repeated', collect, [])
}

const port = wholeNumber(1, 65535)

function collect(value: string, before: readonly string[]): string[] {
  return [...before, value]
}

function wholeNumber(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text)
    if (!Number.isInteger(value) || value < min || value > max) {
      throw new InvalidArgumentError(`write a whole number from ${min} to ${max}`)
    }
    return value
  }
}
