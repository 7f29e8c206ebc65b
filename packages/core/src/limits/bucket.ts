/*
 * A token bucket as one number, the time until which all that was taken is paid for (the "virtual scheduling" form of
 * ITU-T I.371's generic cell rate algorithm). It needs no refilling: tokens come by the clock going on. Ahead of the
 * clock it is the bucket's debt, behind it the tokens saved up. All times are nanoseconds of one clock.
 */

const SECOND_NS = 1e9

/** What an idle bucket saves up: what the limit lets through in this time may come at once. */
export const BURST_NS = SECOND_NS / 10

/** The bucket after `bytes` were taken, however deep it is in debt. */
export function charged(paidUntilNs: number, nowNs: number, bytes: number, bytesPerSecond: number): number {
  return Math.max(paidUntilNs, nowNs - BURST_NS) + Math.ceil((bytes / bytesPerSecond) * SECOND_NS)
}

/** How long until the bucket is out of debt; 0 when it is in none. */
export function debtNs(paidUntilNs: number, nowNs: number): number {
  return Math.max(0, paidUntilNs - nowNs)
}
