import { Type } from 'typebox'

/** Options of the download engine. */
export const downloadOptions = Type.Object(
  {
    originStreams: Type.Integer({
      minimum: 1,
      maximum: 64,
      default: 4,
      description: 'parallel requests to the origin for one blob',
    }),
    schedulerGraceMs: Type.Integer({
      minimum: 0,
      default: 500,
      description: 'how long a download waits for a lost scheduler before it looks for holders on its own',
    }),
    patienceMs: Type.Integer({
      minimum: 1000,
      default: 15_000,
      description: 'how long a download goes without a new piece before it looks elsewhere',
    }),
    holderStreams: Type.Integer({
      minimum: 1,
      maximum: 256,
      default: 8,
      description: 'pieces of one blob on their way at once from holders that the node found itself',
    }),
    holdersMs: Type.Integer({
      minimum: 100,
      default: 1000,
      description: 'how long a download looks for holders before it has a node nearest to the digest ask the origin',
    }),
    rendezvousMs: Type.Integer({
      minimum: 100,
      default: 3000,
      description:
        'how long a download hopes for these nodes, one after the other, before it goes to the origin on its own',
    }),
  },
  { additionalProperties: false, default: {} },
)
