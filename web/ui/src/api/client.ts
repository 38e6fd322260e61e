// One helper for every request. It knows the prefix, turns failures into
// ApiError, and keeps connection, from which the banner is drawn.
import { signal } from '@preact/signals';
import { prefix } from '../state/config';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly type = '',
  ) {
    super(message);
  }
}

// connection: ok, starting (the server answers 503 while it replays its WAL),
// or unreachable since a time.
export type Connection = { state: 'ok' } | { state: 'starting' } | { state: 'unreachable'; since: number };
export const connection = signal<Connection>({ state: 'ok' });

// skew is how many seconds the server's clock is ahead of this browser's.
export const skew = signal(0);

function heard(r: Response): void {
  const date = Date.parse(r.headers.get('Date') ?? '');
  if (!Number.isNaN(date)) {
    const s = (date - Date.now()) / 1000;
    if (Math.abs(s - skew.value) > 2) skew.value = s;
  }
  if (r.status === 503 && r.headers.has('X-Prometheus-Stopping')) {
    if (connection.value.state !== 'starting') connection.value = { state: 'starting' };
  } else if (connection.value.state !== 'ok') {
    connection.value = { state: 'ok' };
  }
}

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'DELETE';
  params?: Record<string, string | number | string[] | undefined>;
  form?: URLSearchParams; // the body of a long query
  json?: unknown;
  signal?: AbortSignal;
}

// request returns the parsed body: the data of Prometheus' envelope, or the
// body itself where there is none (Alertmanager's API).
export async function request<T>(path: string, o: RequestOptions = {}): Promise<T> {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(o.params ?? {})) {
    if (Array.isArray(v)) for (const x of v) q.append(k, x);
    else if (v !== undefined && v !== '') q.set(k, String(v));
  }
  const url = prefix + path + (q.size ? `?${q}` : '');
  const init: RequestInit = { method: o.method ?? 'GET', signal: o.signal ?? null, credentials: 'same-origin' };
  if (o.json !== undefined) {
    init.body = JSON.stringify(o.json);
    init.headers = { 'Content-Type': 'application/json' };
  } else if (o.form) {
    init.body = o.form;
  }
  let r: Response;
  try {
    r = await fetch(url, init);
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e;
    if (connection.value.state !== 'unreachable') connection.value = { state: 'unreachable', since: Date.now() / 1000 };
    throw new ApiError('The server does not answer', 0, 'unreachable');
  }
  heard(r);
  let text: string;
  try {
    text = await r.text();
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e;
    throw new ApiError('The answer broke off', r.status, 'broken');
  }
  let body: unknown;
  try {
    body = text ? JSON.parse(text) : undefined;
  } catch {
    if (r.ok) throw new ApiError(`The answer of ${path} is no JSON`, r.status);
  }
  const envelope = body as
    | {
        status?: string;
        data?: T;
        error?: string;
        errorType?: string;
        message?: string;
        warnings?: string[];
        infos?: string[];
      }
    | undefined;
  if (!r.ok) {
    // Alertmanager's API answers with a bare string or {code, message}.
    const said = typeof body === 'string' ? body : (envelope?.error ?? envelope?.message);
    throw new ApiError(said || text.trim() || `${r.status} ${r.statusText}`, r.status, envelope?.errorType);
  }
  if (envelope && typeof envelope === 'object' && 'status' in envelope && 'data' in envelope) {
    const data = envelope.data as T;
    if (data && typeof data === 'object' && (envelope.warnings || envelope.infos)) {
      Object.defineProperty(data, notices, {
        value: { warnings: envelope.warnings ?? [], infos: envelope.infos ?? [] },
      });
    }
    return data;
  }
  return body as T;
}

const notices = Symbol('notices');

// noticesOf are the warnings and infos that came along with an answer.
export function noticesOf(data: unknown): { warnings: string[]; infos: string[] } {
  const n = data && typeof data === 'object' ? (data as Record<symbol, unknown>)[notices] : undefined;
  return (n as { warnings: string[]; infos: string[] }) ?? { warnings: [], infos: [] };
}
