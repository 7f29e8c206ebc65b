import { Counter, Gauge, type Registry } from 'prom-client'

export type NotificationMetrics = ReturnType<typeof createNotificationMetrics>

/**
 * What notifications count. Names that begin with `registry_` are Distribution's, with its labels; `endpoint` is a name
 * from the configuration.
 */
export function createNotificationMetrics(registry: Registry) {
  const registers = [registry]
  const labelNames = ['endpoint'] as const
  return {
    pending: new Gauge({
      name: 'registry_notifications_pending_total',
      help: 'Events that wait for their delivery',
      labelNames,
      registers,
    }),
    events: new Counter({
      name: 'registry_notifications_events_total',
      help: 'Events that came to the queue (Events), and attempts to deliver one: taken (Successes), answered otherwise (Failures), without an answer (Errors)',
      labelNames: ['type', 'endpoint'],
      registers,
    }),
    statuses: new Counter({
      name: 'registry_notifications_status_total',
      help: 'Answers of the endpoint by status',
      labelNames: ['code', 'endpoint'],
      registers,
    }),
    dead: new Gauge({
      name: 'shoal_registry_notifications_dead',
      help: 'Events set aside because they could not be delivered',
      labelNames,
      registers,
    }),
    dropped: new Counter({
      name: 'shoal_registry_notifications_dropped_total',
      help: 'Events lost: the queue was full or could not be written, or a dead one made room',
      labelNames,
      registers,
    }),
  }
}
