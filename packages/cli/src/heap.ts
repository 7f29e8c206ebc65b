import { setFlagsFromString } from 'node:v8'

// What this process keeps is small and what it throws away is buffers' small wrappers: V8 would let each thread's
// young generation grow to 32 MiB for that. Imported first, as it holds for what is allocated afterwards.
setFlagsFromString('--semi-space-growth-factor=1')
