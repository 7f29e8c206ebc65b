import { type CommandParser, defineScript } from '@redis/client'

/** Redis's clock, milliseconds since 1970: the one that all replicas have in common. */
const NOW = "local t = redis.call('TIME') local now = t[1] * 1000 + math.floor(t[2] / 1000)"
/** Since when all uses are known: a Redis that lost its memory knows none from before. */
const SINCE =
  "local since = redis.call('GET', KEYS[2]) if not since then since = now redis.call('SET', KEYS[2], now) end"

/** What is looked at and changed in one step. */
export const scripts = {
  /** Keys: uses, since. */
  noteUse: define(2, `${NOW} ${SINCE} redis.call('ZADD', KEYS[1], now, ARGV[1]) return now`),
  /** Keys: uses, since. 1 when the content was, or may have been, used at that time or later. */
  usedSince: define(
    2,
    `${NOW} ${SINCE}
    if tonumber(ARGV[2]) < tonumber(since) then return 1 end
    local used = redis.call('ZSCORE', KEYS[1], ARGV[1])
    if used and tonumber(used) >= tonumber(ARGV[2]) then return 1 end
    return 0`,
  ),
  /** Keys: uses, since. Forgets uses from before a time, and the oldest of those beyond a number. */
  trimUses: define(
    2,
    `${NOW} ${SINCE}
    local before = tonumber(ARGV[1])
    local over = redis.call('ZCARD', KEYS[1]) - tonumber(ARGV[2])
    if over > 0 then
      local last = redis.call('ZRANGE', KEYS[1], over - 1, over - 1, 'WITHSCORES')
      before = math.max(before, tonumber(last[2]) + 1)
    end
    redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. string.format('%.0f', before))
    if before > tonumber(since) then redis.call('SET', KEYS[2], string.format('%.0f', before)) end
    return 0`,
  ),
  /** Keys: uses, since. Uses up to now may be missing. */
  doubtUses: define(2, `${NOW} redis.call('SET', KEYS[2], now) return now`),
  /** Keys: what is held. Holds it for longer if it is still held by the same. */
  renewHold: define(
    1,
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0",
  ),
  /** Keys: what is held. */
  releaseHold: define(
    1,
    "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0",
  ),
} as const

function define(keys: number, script: string) {
  return defineScript({
    SCRIPT: script,
    NUMBER_OF_KEYS: keys,
    parseCommand(parser: CommandParser, ...[names, values]: [readonly string[], readonly string[]]) {
      for (const name of names) parser.pushKey(name)
      parser.push(...values)
    },
    transformReply: (reply: number): number => reply,
  })
}
