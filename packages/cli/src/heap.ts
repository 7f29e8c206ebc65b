import { setFlagsFromString } from 'node:v8'

// What a node keeps is small and what it throws away is buffers' small wrappers: V8 would let each thread's young
// generation grow to 32 MiB for that. Imported first, as it holds for what is allocated afterwards. A scheduler has one
// such thread and throws messages of thousands of nodes away: with a small young generation a quarter of its time went
// into collecting what had survived only because it filled up.
if (process.argv[2] !== 'scheduler') setFlagsFromString('--semi-space-growth-factor=1')
