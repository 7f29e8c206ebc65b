import { setFlagsFromString } from 'node:v8'

// Imported first, as it holds for what is allocated afterwards. A scheduler throws messages of thousands of nodes away:
// with a small young generation a quarter of its time went into collecting what had survived only because it filled up.
if (process.argv[2] !== 'scheduler') {
  // What is kept is small and what is thrown away is buffers' small wrappers: V8 would let each thread's young
  // generation grow to 32 MiB for that.
  setFlagsFromString('--semi-space-growth-factor=1')
  // The buffers behind them count as old memory, for which V8 begins a full collection each 10 MiB or so of what is read
  // off sockets, though nothing else has grown: up to a third of a registry's time (docs/benchmarks.md, "Registry").
  setFlagsFromString('--heap-growing-percent=300')
}
