import { execFileSync, spawn } from 'node:child_process'
import { createHash, createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const PROGRAM = '/usr/bin/docker-registry'
const OPENSSL = '/usr/bin/openssl'

/**
 * Whether Distribution is there to test with: why not, else undefined. On CI it must be.
 */
export function missingRegistry(): string | undefined {
  if (existsSync(PROGRAM)) return undefined
  if (process.env.CI === 'true') throw new Error(`${PROGRAM} is missing: install the package docker-registry`)
  return `${PROGRAM} is not installed`
}

/** A folder of the test file; remove it with `rm`. */
export const makeFolder = () => mkdtemp(join(tmpdir(), 'origin-registry-'))
export const removeFolder = (folder: string) => rm(folder, { recursive: true, force: true })

/** A running Distribution. */
export interface RunningRegistry {
  readonly host: string
  readonly url: string
  stop(): Promise<void>
}

/** Runs Distribution on the storage in `folder`; `auth` is YAML put under the key `auth`. */
export async function startRegistry(folder: string, auth = ''): Promise<RunningRegistry> {
  const config = join(folder, `config-${randomUUID()}.yml`)
  await writeFile(
    config,
    `version: 0.1
log: {level: info, formatter: json}
storage: {filesystem: {rootdirectory: ${folder}/storage}}
http: {addr: '127.0.0.1:0', secret: test}
${auth === '' ? '' : `auth:\n${auth}`}`,
  )
  const child = spawn(PROGRAM, ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const said: string[] = []
  const lines = createInterface({ input: child.stderr })
  const host = await new Promise<string>((resolve, reject) => {
    lines.on('line', (line) => {
      said.push(line)
      const match = /listening on (127\.0\.0\.1:\d+)/.exec(line)
      if (match?.[1] !== undefined) resolve(match[1])
    })
    child.once('error', reject)
    child.once('exit', (code) => reject(new Error(`docker-registry ended (${code}): ${said.join('\n')}`)))
  })
  return {
    host,
    url: `http://${host}`,
    stop: async () => {
      child.kill('SIGKILL')
      await exited
    },
  }
}

/** Pushes a blob, or a manifest under a tag, to a registry that asks for nothing. */
export async function push(registry: RunningRegistry, repository: string, bytes: Buffer, tag?: string): Promise<void> {
  const base = `${registry.url}/v2/${repository}`
  if (tag !== undefined) {
    const headers = { 'content-type': 'application/vnd.oci.image.manifest.v1+json' }
    await expectStatus(201, fetch(`${base}/manifests/${tag}`, { method: 'PUT', headers, body: new Uint8Array(bytes) }))
    return
  }
  const opened = await expectStatus(202, fetch(`${base}/blobs/uploads/`, { method: 'POST' }))
  const location = new URL(opened.headers.get('location') ?? '', registry.url)
  location.searchParams.set('digest', `sha256:${createHash('sha256').update(bytes).digest('hex')}`)
  const headers = { 'content-type': 'application/octet-stream' }
  await expectStatus(201, fetch(location, { method: 'PUT', headers, body: new Uint8Array(bytes) }))
}

async function expectStatus(status: number, response: Promise<Response>): Promise<Response> {
  const answer = await response
  if (answer.status !== status) throw new Error(`expected ${status}, got ${answer.status}: ${await answer.text()}`)
  return answer
}

/** A self-signed certificate for 127.0.0.1 and its key, PEM files in `folder`. */
export async function makeCertificate(folder: string): Promise<{ certificate: string; certFile: string; key: string }> {
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  execFileSync(
    OPENSSL,
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2'],
      ...['-subj', '/CN=origin test', '-addext', 'subjectAltName=IP:127.0.0.1', '-out', certFile, '-keyout', keyFile],
    ],
    { stdio: 'ignore' },
  )
  return { certificate: await readFile(certFile, 'utf8'), certFile, key: await readFile(keyFile, 'utf8') }
}

/** A token as Distribution takes it: ES256, the certificate in `x5c`. Source: Distribution, spec/auth/jwt.md. */
export function signToken(
  { certificate, key }: { certificate: string; key: string },
  claims: { service: string; subject: string; scope: string; lifetimeS: number },
): string {
  const [type, name, actions] = claims.scope.split(':')
  const now = Math.floor(Date.now() / 1000)
  const header = { typ: 'JWT', alg: 'ES256', x5c: [new X509Certificate(certificate).raw.toString('base64')] }
  const payload = {
    iss: 'test-issuer',
    sub: claims.subject,
    aud: claims.service,
    iat: now,
    nbf: now - 5,
    exp: now + claims.lifetimeS,
    jti: randomUUID(),
    access: [{ type, name, actions: actions?.split(',') }],
  }
  const text = [header, payload].map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.')
  const signature = sign('sha256', Buffer.from(text), { key: createPrivateKey(key), dsaEncoding: 'ieee-p1363' })
  return `${text}.${signature.toString('base64url')}`
}
