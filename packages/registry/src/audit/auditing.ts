import { CoreError, type Logger, type Startable } from '@shoal/core'
import { Counter, Gauge, type Registry } from 'prom-client'
import type { RegistryEvent } from '../events.ts'
import type { Authentication } from '../http/client-certificate.ts'
import { openStorage } from '../storage/open-storage.ts'
import { AuditLog } from './audit-log.ts'
import { authenticateLine, doneLine, type Refusal, refusedLine } from './line.ts'
import type { AuditOptions } from './options.ts'
import { AuditShipper } from './shipper.ts'

/** The audit log, and who is to be told what for it. */
export interface Auditing {
  readonly done: (event: RegistryEvent) => Promise<void>
  readonly refused: (refusal: Refusal) => void
  readonly authenticated: (authentication: Authentication) => void
  /** In the order in which they start. */
  readonly parts: readonly Startable[]
}

interface AuditingDependencies {
  readonly metrics: Registry
  readonly log: Logger
}

/** undefined when nothing is logged. Throws CoreError `CONFIG_INVALID` for a place that files can not be shipped to. */
export async function createAuditing(
  options: AuditOptions,
  { metrics, log }: AuditingDependencies,
): Promise<Auditing | undefined> {
  if (!options.enabled) return undefined
  const registers = [metrics]
  const lines = new Counter({
    name: 'shoal_registry_audit_lines_total',
    help: 'Lines of the audit log by what became of them: written, lost',
    labelNames: ['outcome'],
    registers,
  })
  const { ship } = options
  const audit = new AuditLog({ ...options, isShipped: ship !== undefined }, { lines, log, now: Date.now })
  return {
    done: async (event) => audit.add(doneLine(event)),
    refused: (refusal) => {
      const line = refusedLine(refusal, Date.now())
      if (line !== undefined) audit.add(line)
    },
    authenticated: (authentication) => audit.add(authenticateLine(authentication, Date.now())),
    parts: ship === undefined ? [audit] : [await createShipper(audit, { ...options, ship }, { metrics, log }), audit],
  }
}

async function createShipper(
  audit: AuditLog,
  { folder, ship: { storage, everyMinutes } }: AuditOptions & { readonly ship: NonNullable<AuditOptions['ship']> },
  { metrics, log }: AuditingDependencies,
): Promise<AuditShipper> {
  const { driver } = storage
  if (driver === 'filesystem' || driver === 'memory') {
    throw new CoreError('CONFIG_INVALID', `audit.ship.storage.driver: ${driver} is no object store: name one`)
  }
  const registers = [metrics]
  const files = new Counter({
    name: 'shoal_registry_audit_files_total',
    help: 'Files of the audit log by what became of them: shipped, failed (and tried again)',
    labelNames: ['outcome'],
    registers,
  })
  const waiting = new Gauge({
    name: 'shoal_registry_audit_files_waiting',
    help: 'Files of the audit log that are done and were not shipped yet',
    registers,
  })
  const target = await openStorage({ dataDir: folder, storage })
  return new AuditShipper({ folder, everyMinutes }, { audit, target, files, waiting, log })
}
