import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { launch } from './process.ts'
import type { TestBed } from './test-bed.ts'

/** Who may pull and push when a rival registry is started `withLogin`. */
export const RIVAL_LOGIN = { username: 'shoal', password: 'sardine' } as const
// bcrypt, the only form that docker-registry takes.
const RIVAL_HTPASSWD = 'shoal:$2y$05$abcdefghijklmnopqrstuufnQ7DcVsm40vcPCRyY1/0QRLPdBAsW2\n'

/** Debian's docker-registry (Distribution), running. */
export interface RivalRegistry {
  /** `http://127.0.0.1:PORT` */
  readonly url: string
  /** `127.0.0.1:PORT`, as image references have it. */
  readonly host: string
  /** Its root directory, in Distribution's layout. */
  readonly storageFolder: string
  stop(): Promise<unknown>
}

/** Starts a docker-registry with storage of its own on a free port. */
export async function startRivalRegistry(bed: TestBed, options: { withLogin?: boolean } = {}): Promise<RivalRegistry> {
  const folder = await bed.folder('rival')
  const storageFolder = join(folder, 'storage')
  const config = {
    version: '0.1',
    storage: { filesystem: { rootdirectory: storageFolder }, delete: { enabled: true } },
    http: { addr: '127.0.0.1:0', secret: 'one instance' },
    ...(options.withLogin === true ? { auth: { htpasswd: { realm: 'rival', path: join(folder, 'htpasswd') } } } : {}),
  }
  await writeFile(join(folder, 'htpasswd'), RIVAL_HTPASSWD)
  // JSON is YAML.
  await writeFile(join(folder, 'config.yml'), JSON.stringify(config))
  const program = bed.use(await launch('docker-registry', 'docker-registry', ['serve', join(folder, 'config.yml')]))
  const [, host = ''] = await program.waitForLine(/listening on (127\.0\.0\.1:\d+)/)
  return { url: `http://${host}`, host, storageFolder, stop: () => program.stop() }
}
