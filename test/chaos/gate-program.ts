/**
 * The gate's process: `HOST PORT REGISTRY_PORT CONTROL_PORT TOKEN_SECONDS`. On PORT it hands requests to the registry
 * of 127.0.0.1 and its answers back, as they are; CONTROL_PORT is for who runs the row (gate.ts). With TOKEN_SECONDS
 * above 0 it wants tokens, as a registry with a token server does. Source: Distribution, spec/auth/token.md.
 */
import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http'
import { json } from 'node:stream/consumers'
import type { GateCounts, Refusal } from './gate.ts'

const [host = '', ...numbers] = process.argv.slice(2)
const [port = 0, registryPort = 0, controlPort = 0, tokenSeconds = 0] = numbers.map(Number)

/** What tokens say of their life: as where clocks differ, or tokens are taken back. */
const SAID_SECONDS = 60

const counts: { -readonly [Key in keyof GateCounts]: number } = { refused: 0, expired: 0, broken: 0 }
/** When each token ends, by `performance.now()`. */
const tokens = new Map<string, number>()
const underWay = new Set<ServerResponse>()
let refusal: Refusal | undefined
let refusesUntilMs = 0

function answerAtGate(question: IncomingMessage, answer: ServerResponse): void {
  if (tokenSeconds > 0 && question.url?.startsWith('/token')) giveToken(answer)
  else if (refusal !== undefined && performance.now() < refusesUntilMs) refuse(refusal, answer)
  else if (tokenSeconds > 0 && !isAllowed(question)) demandToken(answer)
  else passOn(question, answer)
}

function giveToken(answer: ServerResponse): void {
  const token = `token-${tokens.size}`
  tokens.set(token, performance.now() + tokenSeconds * 1000)
  answer.end(JSON.stringify({ token, expires_in: SAID_SECONDS }))
}

function refuse({ status, retryAfter }: Refusal, answer: ServerResponse): void {
  counts.refused++
  answer.writeHead(status, retryAfter === undefined ? {} : { 'retry-after': String(retryAfter) }).end()
}

function isAllowed({ headers }: IncomingMessage): boolean {
  const endsMs = tokens.get(headers.authorization?.replace(/^Bearer /, '') ?? '')
  if (endsMs === undefined) return false
  if (performance.now() < endsMs) return true
  counts.expired++
  return false
}

function demandToken(answer: ServerResponse): void {
  const challenge = `Bearer realm="http://${host}:${port}/token",service="gate"`
  answer.writeHead(401, { 'www-authenticate': challenge }).end()
}

function passOn({ method, url, headers }: IncomingMessage, answer: ServerResponse): void {
  underWay.add(answer)
  const passed = request({ host: '127.0.0.1', port: registryPort, method, path: url, headers }, (response) => {
    answer.writeHead(response.statusCode ?? 502, response.headers)
    response.pipe(answer)
  })
  passed.on('error', () => answer.destroy())
  answer.on('error', () => {})
  answer.on('close', () => {
    underWay.delete(answer)
    passed.destroy()
  })
  passed.end()
}

async function obey(question: IncomingMessage, answer: ServerResponse): Promise<void> {
  if (question.url === '/refuse') {
    refusal = (await json(question)) as Refusal
    refusesUntilMs = performance.now() + refusal.forMs
  } else if (question.url === '/break') {
    counts.broken += underWay.size
    for (const broken of underWay) broken.destroy()
  }
  answer.end(JSON.stringify(counts))
}

createServer(answerAtGate).listen(port, host)
createServer((question, answer) => void obey(question, answer)).listen(controlPort, host)
