import { mkdir, writeFile } from 'node:fs/promises'
import { run } from '../kit/command.ts'
import { everyPlace, type Place, type Places } from './places.ts'

/** This process's own address: where the links meet. */
const HUB = '198.18.255.254'
const DELAY_TABLE = 100
/** What a link may send at once after it was idle: little against a piece, enough for a late timer. */
const BURST_BYTES = 32 * 1024
/** Ethernet, IPv4, and TCP with timestamps. */
const HEADER_BYTES = 14 + 20 + 32

/** The classes of a link. */
const WHOLE = '1:1'
const HOME = '1:10'
const ABROAD = '1:11'
/**
 * Acknowledgements, the scheduler's messages and libp2p's: what a host's own fair queue (fq_codel), which many kernels
 * lack, would let pass the bulk.
 */
const URGENT = '1:12'

/** Speed of every link, each way. */
export interface LinkOptions {
  readonly rateBps: number
  readonly zones: number
}

/**
 * Makes a namespace for each place, joined to this one, which routes between them; nodes, seed and registry have links
 * of the same rate, those of the schedulers are not limited, nor is what the registry receives. Runs in namespaces of its own
 * (isolation.ts), so nothing of it is ever taken down.
 */
export async function makeLinks(places: Places, options: LinkOptions): Promise<void> {
  await mkdir('/run/netns', { recursive: true })
  await run('mount', ['-t', 'tmpfs', 'tmpfs', '/run/netns'])
  await writeFile('/proc/sys/net/ipv4/ip_forward', '1')
  for (const which of ['all', 'default']) await writeFile(`/proc/sys/net/ipv4/conf/${which}/rp_filter`, '0')
  const all = everyPlace(places)
  await run('ip', ['-batch', '-'], ['link set lo up', ...all.flatMap(joined)])
  for (const place of all) await run('ip', ['-n', place.name, '-batch', '-'], configured(place))
  for (const place of [places.seed, ...places.nodes]) {
    await run('tc', ['-n', place.name, '-batch', '-'], upload(place, places, options))
    await run('tc', ['-batch', '-'], limited(place.name, places, options))
  }
  await run('tc', ['-n', places.registry.name, '-batch', '-'], limited('eth0', places, options))
}

/** Changes the rate of a seed's or node's link, both ways. */
export async function changeRate({ name }: Place, rateBps: number): Promise<void> {
  await run('tc', ['-n', name, '-batch', '-'], classes('change', 'eth0', rateBps))
  await run('tc', ['-batch', '-'], classes('change', name, rateBps))
}

/** Has everything that passes between two places go through the delay line's devices, but for what is this process's. */
export async function routeThrough(devices: { in: string; out: string }): Promise<void> {
  await run(
    'ip',
    ['-batch', '-'],
    [
      `link set ${devices.in} txqueuelen 10000 up`,
      `link set ${devices.out} up`,
      `route add default dev ${devices.in} table ${DELAY_TABLE}`,
      `rule add pref 10 iif ${devices.out} lookup main`,
      'rule add pref 11 iif lo lookup main',
      `rule add pref 12 lookup ${DELAY_TABLE}`,
    ],
  )
}

/** Undoes `routeThrough`. */
export async function routeDirectly(): Promise<void> {
  await run('ip', ['-batch', '-'], ['rule del pref 10', 'rule del pref 11', 'rule del pref 12'])
  await run('ip', ['route', 'flush', 'table', String(DELAY_TABLE)])
}

/** TCP payload bytes that the place has sent so far: all of it, and to nodes of other zones. */
export async function sentBytes({ name }: Place): Promise<{ all: number; abroad: number }> {
  const shown = await run('tc', ['-n', name, '-s', 'class', 'show', 'dev', 'eth0'])
  const payloadOf = (handle: string) => {
    const [, bytes, packets] = new RegExp(`class htb ${handle} [^]*?Sent (\\d+) bytes (\\d+) pkt`).exec(shown) ?? []
    return bytes === undefined ? 0 : Number(bytes) - Number(packets) * HEADER_BYTES
  }
  return { all: payloadOf(HOME) + payloadOf(ABROAD), abroad: payloadOf(ABROAD) }
}

function joined({ name, host }: Place): string[] {
  return [
    `netns add ${name}`,
    `link add ${name} type veth peer name eth0 netns ${name}`,
    `addr add ${HUB}/32 dev ${name}`,
    `link set ${name} up`,
    `route add ${host}/32 dev ${name}`,
  ]
}

function configured({ host }: Place): string[] {
  return [
    'link set lo up',
    `addr add ${host}/32 dev eth0`,
    'link set eth0 up',
    `route add default via ${HUB} dev eth0 onlink src ${host}`,
  ]
}

/** A limited link whose bulk goes through one class: as a sender's or a receiver's side. */
function limited(device: string, { schedulers, seed }: Places, { rateBps }: LinkOptions): string[] {
  const filter = `filter add dev ${device} parent 1: protocol ip prio 1 u32`
  const bareAcknowledgement = 'match u8 6 0xff at 9 match u16 0 0xffc0 at 2'
  return [
    `qdisc add dev ${device} root handle 1: htb default 10`,
    ...classes('add', device, rateBps),
    ...[...schedulers.map(({ host }) => host), HUB].flatMap((host) => [
      `${filter} match ip dst ${host}/32 flowid ${URGENT}`,
      `${filter} match ip src ${host}/32 flowid ${URGENT}`,
    ]),
    `${filter} ${bareAcknowledgement} flowid ${URGENT}`,
    ...['sport', 'dport'].map((port) => `${filter} match ip ${port} ${seed.ports[2]} 0xffff flowid ${URGENT}`),
  ]
}

/** The classes of a link of that rate. */
function classes(verb: 'add' | 'change', device: string, rateBps: number): string[] {
  const limit = (share: number) =>
    `htb rate ${Math.round(rateBps * share)}bit ceil ${rateBps}bit burst ${BURST_BYTES} cburst ${BURST_BYTES} quantum 60000`
  return [
    `class ${verb} dev ${device} parent 1: classid ${WHOLE} ${limit(1)}`,
    `class ${verb} dev ${device} parent ${WHOLE} classid ${HOME} ${limit(0.45)} prio 1`,
    `class ${verb} dev ${device} parent ${WHOLE} classid ${ABROAD} ${limit(0.45)} prio 1`,
    `class ${verb} dev ${device} parent ${WHOLE} classid ${URGENT} ${limit(0.1)} prio 0`,
  ]
}

/** A node's sending side: what goes to other zones is counted, and queued, apart. */
function upload(place: Place, places: Places, options: LinkOptions): string[] {
  const filters: string[] = []
  for (let zone = 0; zone < options.zones; zone++) {
    if (zone === place.zone) continue
    filters.push(
      `filter add dev eth0 parent 1: protocol ip prio 2 u32 match ip dst 198.18.${zone}.0/24 flowid ${ABROAD}`,
    )
  }
  return [...limited('eth0', places, options), ...filters]
}
