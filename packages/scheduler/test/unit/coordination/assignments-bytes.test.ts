import { ConnectResponse } from '@shoal/proto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { assignmentsResponse } from '../../../src/coordination/assignments-bytes.ts'

const PIECES = 1000
const DIGESTS = Buffer.alloc(PIECES * 32).map((_, at) => (at * 7) >>> 3)

it('assignments are written by hand as the generated code writes them', () => {
  const assignment = fc.record({ piece: fc.nat(PIECES - 1), parent: fc.integer({ min: 1, max: 2 ** 32 - 1 }) })
  const number = fc.oneof(fc.nat(300), fc.nat(2 ** 32 - 1))
  fc.assert(
    fc.property(number, fc.array(assignment, { minLength: 1, maxLength: 200 }), (swarm, assignments) => {
      fc.pre(swarm > 0)
      const pieces = assignments.map(({ piece }) => piece)
      const parents = assignments.map(({ parent }) => parent)
      const sha256s = Buffer.concat(pieces.map((piece) => DIGESTS.subarray(piece * 32, (piece + 1) * 32)))
      const value = { swarm, pieces, parents, sha256s }
      const expected = ConnectResponse.encode({ commands: [{ command: { $case: 'assignments', value } }] }).finish()
      expect(assignmentsResponse(swarm, pieces, parents, DIGESTS)).toEqual(Buffer.from(expected))
    }),
  )
})
