// What metrics and labels there are, /api/v1/labels and so on, kept for a few
// minutes: completion asks at every key.
import { request, serverNow } from './client';

export interface Meta {
  type: string;
  help: string;
  unit?: string;
}

const KEEP = 5 * 60_000;
const kept = new Map<string, { until: number; answer: Promise<unknown> }>();

function once<T>(key: string, ask: () => Promise<T>): Promise<T> {
  const k = kept.get(key);
  if (k && k.until > Date.now()) return k.answer as Promise<T>;
  const answer = ask();
  kept.set(key, { until: Date.now() + KEEP, answer });
  answer.catch(() => kept.delete(key));
  if (kept.size > 500) kept.delete(kept.keys().next().value!);
  return answer;
}

// Labels are those of the last hours, not of all that is stored.
const since = () => String(Math.floor(serverNow() / 300) * 300 - 6 * 3600);

export const metricNames = () =>
  once('names', () => request<string[]>('/api/v1/label/__name__/values', { params: { start: since() } }));
export const metadata = () =>
  once('meta', () => request<Record<string, Meta[]>>('/api/v1/metadata', { params: { limit_per_metric: 3 } }));
export const labelNames = (match = '') =>
  once(`labels ${match}`, () =>
    request<string[]>('/api/v1/labels', { params: { start: since(), 'match[]': match || undefined } }),
  );
export const labelValues = (label: string, match = '') =>
  once(`values ${label} ${match}`, () =>
    request<string[]>(`/api/v1/label/${encodeURIComponent(label)}/values`, {
      params: { start: since(), limit: 5000, 'match[]': match || undefined },
    }),
  );

// metaOf finds what is known of a metric; histograms and counters are described
// by the name without its ending.
export function metaOf(all: Record<string, Meta[]> | undefined, name: string): Meta | undefined {
  return (all?.[name] ?? all?.[name.replace(/_(count|sum|bucket|total)$/, '')])?.[0];
}
