import type { Logger } from '@shoal/core'
import { type Challenge, parseChallenges } from './challenge.ts'
import type { Credentials } from './credentials.ts'
import type { Endpoint } from './endpoint.ts'
import { abortedError, originError, type Subject } from './errors.ts'
import { LruMap } from './lru.ts'
import { mayReceiveCredentials, realmRefusal, type TokenDemand, tokenDemand } from './realm.ts'
import type { Tokens } from './tokens.ts'

/** How a repository wants to be asked, as its last challenge said. */
type LearnedChallenge = { readonly kind: 'basic' } | { readonly kind: 'bearer'; readonly demand: TokenDemand }

/** An `Authorization` value to try, and whether it was made just now: then being refused is final. */
export interface Answer {
  readonly authorization: string
  readonly isFresh: boolean
}

/** Who asks for what. */
export interface AuthorizationContext {
  readonly endpoint: Endpoint
  readonly credentials: Credentials
  readonly subject: Subject
  readonly signal: AbortSignal
}

const MAX_LEARNED = 1024

/** Decides what `Authorization` a request carries: at first, and after a 401. */
export class Authorizer {
  readonly #tokens: Tokens
  readonly #log: Logger
  readonly #learned = new LruMap<LearnedChallenge>(MAX_LEARNED)

  constructor(tokens: Tokens, log: Logger) {
    this.#tokens = tokens
    this.#log = log
  }

  /** What to send before any challenge of this request: a token that is held, or credentials where they are wanted. */
  first({ endpoint, credentials, subject }: AuthorizationContext): Answer | undefined {
    const { authorization, isForwarded, kind } = credentials
    const learned = this.#learned.get(keyOf(subject))
    if (kind !== 'token' && learned?.kind === 'bearer') {
      const token = this.#tokens.held(endpoint, learned.demand, credentials.hash)
      if (token !== undefined) return { authorization: `Bearer ${token}`, isFresh: false }
    }
    if (authorization === undefined || (!isForwarded && learned?.kind !== 'basic')) return undefined
    return { authorization, isFresh: kind === 'token' }
  }

  /**
   * What to send after a 401.
   * @param challenges the answer's `WWW-Authenticate` values
   * @param refused what the refused request carried
   * @throws OriginError `UNAUTHORIZED` with those challenges when there is nothing more to try
   */
  async answer(
    context: AuthorizationContext,
    challenges: readonly string[],
    refused: Answer | undefined,
  ): Promise<Answer> {
    const { credentials, subject } = context
    if (credentials.kind === 'token' || refused?.isFresh === true) throw unauthorized(context, challenges)
    const parsed = parseChallenges(challenges)
    for (const challenge of parsed) {
      const demand = challenge.scheme === 'bearer' ? tokenDemand(challenge, subject.repository) : undefined
      if (demand === undefined) continue
      this.#learned.set(keyOf(subject), { kind: 'bearer', demand })
      return this.#bearerAnswer(context, challenges, demand, refused)
    }
    const { authorization } = credentials
    if (authorization !== undefined && authorization !== refused?.authorization && hasBasic(parsed)) {
      this.#learned.set(keyOf(subject), { kind: 'basic' })
      return { authorization, isFresh: true }
    }
    throw unauthorized(context, challenges)
  }

  async #bearerAnswer(
    context: AuthorizationContext,
    challenges: readonly string[],
    demand: TokenDemand,
    refused: Answer | undefined,
  ): Promise<Answer> {
    const { endpoint, credentials, subject, signal } = context
    const refusal =
      realmRefusal(endpoint, demand.realm) ??
      (credentials.authorization === undefined || mayReceiveCredentials(endpoint, demand.realm)
        ? undefined
        : 'it is not the origin, nor under its domain, nor listed in tokenHosts')
    if (refusal !== undefined) {
      const realm = demand.realm.host
      this.#log.warn({ ...subject, realm, refusal }, 'token realm not asked')
      throw unauthorized(context, challenges, `the token server ${realm} was not asked: ${refusal}`)
    }
    const held = this.#tokens.held(endpoint, demand, credentials.hash)
    if (held !== undefined) {
      if (refused?.authorization !== `Bearer ${held}`) return { authorization: `Bearer ${held}`, isFresh: false }
      this.#tokens.drop(endpoint, demand, credentials.hash)
    }
    const token = await this.#tokens.fetch(endpoint, demand, credentials, subject, signal).catch((error: unknown) => {
      throw signal.aborted ? abortedError(subject, error) : error
    })
    if (token === undefined) throw unauthorized(context, challenges)
    return { authorization: `Bearer ${token}`, isFresh: true }
  }
}

function hasBasic(challenges: readonly Challenge[]): boolean {
  return challenges.some(({ scheme }) => scheme === 'basic')
}

function unauthorized({ credentials, subject }: AuthorizationContext, challenges: readonly string[], why?: string) {
  const { authorization, isForwarded } = credentials
  const advice =
    authorization === undefined
      ? 'it wants credentials: give the runtime a pull secret, or username and passwordFile in the config'
      : isForwarded
        ? "it refuses the client's credentials: check the pull secret"
        : 'it refuses the configured credentials: check username and passwordFile in the config'
  return originError('UNAUTHORIZED', subject, why ?? advice, { data: { status: 401, challenges } })
}

function keyOf({ registry, repository }: Subject): string {
  return `${registry}/${repository}`
}
