import { Counter, Gauge, type Registry } from 'prom-client'

export type NotificationMetrics = ReturnType<typeof createNotificationMetrics>

/** What notifications count. Names are API; `endpoint` is a name from the configuration. */
export function createNotificationMetrics(registry: Registry) {
  const registers = [registry]
  const labelNames = ['endpoint'] as const
  return {
    pending: new Gauge({
      name: 'shoal_registry_notifications_pending',
      help: 'Events that wait for their delivery',
      labelNames,
      registers,
    }),
    dead: new Gauge({
      name: 'shoal_registry_notifications_dead',
      help: 'Events set aside because they could not be delivered',
      labelNames,
      registers,
    }),
    delivered: new Counter({
      name: 'shoal_registry_notifications_delivered_total',
      help: 'Events that the endpoint has taken',
      labelNames,
      registers,
    }),
    failed: new Counter({
      name: 'shoal_registry_notifications_failed_total',
      help: 'Attempts to deliver an event that failed',
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
