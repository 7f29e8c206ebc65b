import { join } from 'node:path'

/** The program as users run it; made by `setup` of `build.ts` before the tests. */
export const SHOAL_PROGRAM = join(import.meta.dirname, '../../packages/cli/dist/shoal.js')
