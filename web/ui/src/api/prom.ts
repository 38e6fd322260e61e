// Prometheus' own API, /api/v1.
import { request } from './client';
import type { AlertRuleGroup, RuleAlert } from './types/alerts';
import type { MatrixSeries, QueryData, VectorSample } from './types/query';

// Long queries go by POST, as Grafana does it; the limit is that of proxies.
function ask<T>(path: string, fields: Record<string, string>, signal?: AbortSignal): Promise<T> {
  const form = new URLSearchParams(fields);
  if (form.toString().length > 1500) return request<T>(path, { method: 'POST', form, ...(signal && { signal }) });
  return request<T>(path, { params: fields, ...(signal && { signal }) });
}

// query evaluates at a time in Unix seconds, or at the server's now.
export function query(
  expr: string,
  at?: number,
  signal?: AbortSignal,
  more: Record<string, string> = {},
): Promise<QueryData> {
  return ask('/api/v1/query', { query: expr, ...(at !== undefined && { time: String(at) }), ...more }, signal);
}

// vector is query for expressions that give a vector.
export async function vector(expr: string, at?: number, signal?: AbortSignal): Promise<VectorSample[]> {
  const d = await query(expr, at, signal);
  return d.resultType === 'vector' ? d.result : [];
}

// queryRange evaluates at each step; lookback is how many seconds a sample counts,
// the server's default where it is not given.
export async function queryRange(
  expr: string,
  start: number,
  end: number,
  step: number,
  signal?: AbortSignal,
  lookback?: number,
): Promise<MatrixSeries[]> {
  const more: Record<string, string> = lookback === undefined ? {} : { lookback_delta: `${lookback}s` };
  const d = await rangeData(expr, { start, end, step }, signal, more);
  return d.resultType === 'matrix' ? d.result : [];
}

// rangeData is queryRange with all that comes along: warnings, statistics.
export function rangeData(
  expr: string,
  g: { start: number; end: number; step: number },
  signal?: AbortSignal,
  more: Record<string, string> = {},
): Promise<QueryData> {
  return ask(
    '/api/v1/query_range',
    { query: expr, start: String(g.start), end: String(g.end), step: String(g.step), ...more },
    signal,
  );
}

export { anyOf, quote } from '../lib/quote';

export const ruleAlerts = (signal?: AbortSignal) =>
  request<{ alerts: RuleAlert[] }>('/api/v1/alerts', { ...(signal && { signal }) }).then((d) => d.alerts);

// alertRules are the alerting rules without their alerts.
export const alertRules = (signal?: AbortSignal) =>
  request<{ groups: AlertRuleGroup[] }>('/api/v1/rules', {
    params: { type: 'alert', exclude_alerts: 'true' },
    ...(signal && { signal }),
  }).then((d) => d.groups);

// metricNames are the names that series matched by match had between two times.
export const metricNames = (match: string, start: number, end: number, signal?: AbortSignal) =>
  request<string[]>('/api/v1/label/__name__/values', {
    params: { 'match[]': match, start, end },
    ...(signal && { signal }),
  });
