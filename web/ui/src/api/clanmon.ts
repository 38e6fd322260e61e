// clanmon's own endpoints, /api/clanmon/v1, and Alertmanager's, /api/v2.
import { anyOf } from '../lib/quote';
import type { Backfill } from '../lib/backfill';
import type { Pair } from '../lib/pair';
import type { RemoteWrite } from '../lib/remoteWrite';
import { request } from './client';
import type {
  Alert,
  DeliveryStatus,
  Digest,
  NewSilence,
  Notifications,
  ReceiverState,
  ReceiverTest,
  Schedule,
  Silence,
} from './types/alerts';
import type { Discovery, Elsewhere, FleetAnswer, Machine } from './types/machines';
import type { StorageHealth } from './types/status';

export const machines = (signal?: AbortSignal) =>
  request<Machine[]>('/api/clanmon/v1/machines', { ...(signal && { signal }) });
export const machine = (name: string, signal?: AbortSignal) =>
  request<Machine[]>('/api/clanmon/v1/machines', { params: { machine: name }, ...(signal && { signal }) }).then(
    (all) => all.find((m) => m.machine === name) ?? null,
  );
// fleet gives what changed since a cursor; without one, everything. With a time,
// in Unix seconds, rows have the figures of then.
export const fleet = (since?: string, time?: number, signal?: AbortSignal) =>
  request<FleetAnswer>('/api/clanmon/v1/fleet', { params: { since, time }, ...(signal && { signal }) });
export const elsewhere = (signal?: AbortSignal) =>
  request<Elsewhere>('/api/clanmon/v1/elsewhere', { ...(signal && { signal }) });
export const forgetMachine = (name: string) =>
  request<unknown>(`/api/clanmon/v1/machines/${encodeURIComponent(name)}`, { method: 'DELETE' });
export const forgetTarget = (name: string, job: string, instance: string) =>
  request<unknown>(`/api/clanmon/v1/machines/${encodeURIComponent(name)}/targets`, {
    method: 'DELETE',
    params: { job, instance },
  });
export const discovery = (signal?: AbortSignal) =>
  request<Discovery>('/api/clanmon/v1/discovery', { ...(signal && { signal }) });
export const receivers = (signal?: AbortSignal) =>
  request<ReceiverState[]>('/api/clanmon/v1/receivers', { ...(signal && { signal }) });
export const schedule = (signal?: AbortSignal) =>
  request<Schedule>('/api/clanmon/v1/receivers/schedule', { ...(signal && { signal }) });
export const digest = () => request<Digest>('/api/clanmon/v1/digest');
// Alerts without severity, Watchdog and MachineNew, are internal: of 1,000 new
// machines they would be 1,000.
export const alerts = (signal?: AbortSignal) =>
  request<Alert[]>('/api/v2/alerts', { params: { filter: 'severity!="none"' }, ...(signal && { signal }) });
export const remoteWrite = (signal?: AbortSignal) =>
  request<RemoteWrite[]>('/api/clanmon/v1/remote-write', { ...(signal && { signal }) });
export const backfill = (signal?: AbortSignal) =>
  request<Backfill>('/api/clanmon/v1/backfill', { ...(signal && { signal }) });
export const pair = (signal?: AbortSignal) => request<Pair>('/api/clanmon/v1/pair', { ...(signal && { signal }) });
export const storageHealth = (signal?: AbortSignal) =>
  request<StorageHealth>('/api/clanmon/v1/storage', { ...(signal && { signal }) });
// watchdog fires at all times: where it arrives, rules and delivery work.
export const watchdog = (signal?: AbortSignal) =>
  request<Alert[]>('/api/v2/alerts', { params: { filter: 'alertname="Watchdog"' }, ...(signal && { signal }) });
// internalAlerts are those without severity, of some machines or of none.
export const internalAlerts = (machines: string[], signal?: AbortSignal) =>
  request<Alert[]>('/api/v2/alerts', {
    params: { filter: ['severity="none"', `machine=~${JSON.stringify(anyOf(machines))}`] },
    ...(signal && { signal }),
  });
export const silences = (signal?: AbortSignal) => request<Silence[]>('/api/v2/silences', { ...(signal && { signal }) });
export const oneSilence = (id: string) => request<Silence>(`/api/v2/silence/${encodeURIComponent(id)}`);
export const notifications = (signal?: AbortSignal) =>
  request<Notifications>('/api/clanmon/v1/notifications', { ...(signal && { signal }) });
export const deliveryStatus = (signal?: AbortSignal) =>
  request<DeliveryStatus>('/api/v2/status', { ...(signal && { signal }) });
export const testReceiver = (receiver: string) =>
  request<ReceiverTest[]>('/api/clanmon/v1/receivers/test', { method: 'POST', json: receiver ? { receiver } : {} });
export const putSilence = (s: NewSilence) =>
  request<{ silenceID: string }>('/api/v2/silences', { method: 'POST', json: s });
export const expireSilence = (id: string) =>
  request<unknown>(`/api/v2/silence/${encodeURIComponent(id)}`, { method: 'DELETE' });
// Of the groups only mutedBy is wanted, which /api/v2/alerts leaves empty.
export const alertGroups = (signal?: AbortSignal) =>
  request<{ alerts: Alert[] }[]>('/api/v2/alerts/groups', {
    params: { silenced: 'false', inhibited: 'false', filter: 'severity!="none"' },
    ...(signal && { signal }),
  });
