import { homedir } from 'node:os'
import { join } from 'node:path'

/** Debian has containerd 1.6; this one is built from its module. */
export const CONTAINERD2_VERSION = '2.4.2'

/** Where `npm run test:install` puts it; a folder for each version. */
export const CONTAINERD2_FOLDER = join(homedir(), `.cache/shoal-tests/containerd-${CONTAINERD2_VERSION}`)

/** What is built. */
export const CONTAINERD2_PROGRAMS = ['containerd', 'ctr', 'containerd-shim-runc-v2'] as const

/** Path of one of its programs. */
export function containerd2(program: (typeof CONTAINERD2_PROGRAMS)[number]): string {
  return join(CONTAINERD2_FOLDER, program)
}
