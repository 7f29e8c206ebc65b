import { describe, expect, it, test } from 'vitest'
import {
  availableHost,
  formatHostPort,
  isLoopback,
  isOfThisMachineOnly,
  parseHostPort,
  plainAddress,
} from '../../src/index.ts'

describe('an address that leads nowhere from another machine', () => {
  it.each([
    '127.0.0.1',
    '127.0.1.1',
    '::1',
    '::ffff:127.0.0.1',
    '::ffff:7f00:1',
    'localhost',
    'x.localhost',
    '0.0.0.0',
    '::',
    '169.254.1.2',
    '::ffff:169.254.1.2',
    'fe80::1',
    'fe80::1%eth0',
    'febf::1',
  ])('is %s', (host) => {
    expect(isOfThisMachineOnly(host)).toBe(true)
  })

  it.each(['10.0.0.1', '192.168.1.1', '128.0.0.1', 'fd00::1', 'fec0::1', '2001:db8::1', 'node-1', '', 'nonsense:'])(
    'is not %j',
    (host) => {
      expect(isOfThisMachineOnly(host)).toBe(false)
    },
  )

  it('is loopback only where it is this machine by itself', () => {
    expect(['127.0.1.1', '::1', '::ffff:127.0.0.1', 'localhost'].every(isLoopback)).toBe(true)
    expect(['0.0.0.0', '::', 'fe80::1', '169.254.0.1', '10.0.0.1'].some(isLoopback)).toBe(false)
  })
})

test('IPv4 that came in IPv6 is written as IPv4', () => {
  expect(['::ffff:10.0.0.1', '::FFFF:a00:1', 'fd00::1', '10.0.0.1'].map(plainAddress)).toEqual([
    '10.0.0.1',
    '10.0.0.1',
    'fd00::1',
    '10.0.0.1',
  ])
})

test('host and port are read as they are written', () => {
  expect([formatHostPort('::1', 80), formatHostPort('h', 80)]).toEqual(['[::1]:80', 'h:80'])
  expect(parseHostPort(formatHostPort('fd00::1', 7400))).toEqual({ host: 'fd00::1', port: 7400 })
})

test('an address that was chosen stays as it is', async () => {
  expect(await availableHost('0.0.0.0')).toBe('0.0.0.0')
  expect(['::', '0.0.0.0']).toContain(await availableHost('::'))
})
