import { createLogger, type LogLevel } from '@shoal/core'
import type { Service, ServiceDefinition } from '@shoal/core/service'
import { type ConfigSources, loadServiceConfig } from './configure.ts'
import { untilToldToStop } from './signals.ts'

/**
 * Runs a service until it is told to stop; while it still starts, the process is to end then as it is. Throws what its
 * config, its start or its stop throw.
 */
export async function runService(definition: ServiceDefinition, sources: ConfigSources): Promise<void> {
  const { values } = await loadServiceConfig(definition, sources)
  const { level } = (values.log ?? {}) as { level?: LogLevel }
  const log = createLogger(definition.name, level)
  const stopped = untilToldToStop()
  const service: Service = await definition.create(values, log, sources.environment)
  const reason = await Promise.race([service.start(), stopped])
  if (reason !== undefined) {
    log.info({ reason }, 'stopped before it was ready')
    return
  }
  log.info({ addresses: service.addresses(), pid: process.pid }, 'started')
  log.info({ reason: await stopped }, 'stopping')
  await service.stop()
  log.info('stopped')
}
