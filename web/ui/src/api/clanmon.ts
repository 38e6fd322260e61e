// clanmon's own endpoints, /api/clanmon/v1, and Alertmanager's, /api/v2.
import { request } from './client';
import type { Alert, ReceiverState, Silence } from './types/alerts';
import type { Discovery, Machine } from './types/machines';

export const machines = (signal?: AbortSignal) => request<Machine[]>('/api/clanmon/v1/machines', { ...(signal && { signal }) });
export const discovery = (signal?: AbortSignal) => request<Discovery>('/api/clanmon/v1/discovery', { ...(signal && { signal }) });
export const receivers = (signal?: AbortSignal) => request<ReceiverState[]>('/api/clanmon/v1/receivers', { ...(signal && { signal }) });
export const alerts = (signal?: AbortSignal) => request<Alert[]>('/api/v2/alerts', { ...(signal && { signal }) });
export const silences = (signal?: AbortSignal) => request<Silence[]>('/api/v2/silences', { ...(signal && { signal }) });
