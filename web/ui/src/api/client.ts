// One helper for every request. It knows the prefix, turns failures into
// ApiError, and keeps connection, from which the banner is drawn.
import { signal } from '@preact/signals';
import { prefix } from '../state/config';
import { doubt, followed, versionOf } from './versions';

export class ApiError extends Error {
  constructor(
    message: string,
    readonly status: number,
    readonly type = '',
  ) {
    super(message);
  }
}

// connection: ok; starting (the server answers 503 while it replays its WAL, or
// waits for something, with the reason); unreachable since a time, or locked: it asks for another password.
export type Connection =
  | { state: 'ok' }
  | { state: 'starting'; reason?: string }
  | { state: 'locked' }
  | { state: 'unreachable'; since: number };
export const connection = signal<Connection>({ state: 'ok' });

const become = (c: Connection) => {
  if (connection.value.state !== c.state) connection.value = c;
};

// The reason stands behind upstream's text, where there is one.
export function starting(text: string): void {
  const reason = /^Service Unavailable: (.+)/s.exec(text)?.[1]?.trim() ?? '';
  const c = connection.value;
  if (c.state === 'starting' && (c.reason ?? '') !== reason) connection.value = { state: 'starting', reason };
}

// skew is how many seconds the server's clock is ahead of this browser's, and
// serverNow the server's time in Unix seconds. A header Date has whole seconds,
// so a difference of less than two is none.
export const skew = signal(0);
export const serverNow = () => Date.now() / 1000 + skew.value;

// A proxy in front says for the server that it is away.
const away = (r: Response) =>
  r.status === 502 || r.status === 504 || (r.status === 503 && !r.headers.get('Content-Type')?.includes('json'));

function heard(r: Response, early: boolean): void {
  const date = Date.parse(r.headers.get('Date') ?? '');
  if (!Number.isNaN(date)) {
    const s = (date - Date.now()) / 1000;
    if (Math.abs(s - skew.value) > 2) skew.value = Math.abs(s) > 2 ? s : 0;
  }
  if (r.status === 503 && r.headers.has('X-Prometheus-Stopping')) become({ state: 'starting' });
  else if (r.status === 401) become({ state: 'locked' });
  else if (away(r)) become({ state: 'unreachable', since: serverNow() });
  else if (!early) become({ state: 'ok' });
}

// told says that the banner tells of an error already: of a server that is away,
// starting or locked every request fails.
export const told = (e: Error | undefined) =>
  e instanceof ApiError && (e.type === 'unreachable' || e.type === 'starting' || e.type === 'locked');

export interface RequestOptions {
  method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  headers?: Record<string, string>;
  params?: Record<string, string | number | string[] | undefined>;
  form?: URLSearchParams; // the body of a long query
  json?: unknown;
  early?: boolean; // answered also by a server that is not ready, so it does not say that it is
  aside?: boolean; // about a machine or of somebody who may not: a failure says nothing about the server
  signal?: AbortSignal;
}

// kept are the last answers of which the stream has versions. Nobody changes an answer.
const kept = new Map<string, { version: string; data: unknown }>();

// request returns the parsed body: the data of Prometheus' envelope, or the
// body itself where there is none (Alertmanager's API).
export async function request<T>(path: string, o: RequestOptions = {}): Promise<T> {
  const q = new URLSearchParams();
  for (const [k, v] of Object.entries(o.params ?? {})) {
    if (Array.isArray(v)) for (const x of v) q.append(k, x);
    else if (v !== undefined && v !== '') q.set(k, String(v));
  }
  const name = path + (q.size ? `?${q}` : '');
  const url = prefix + name;
  const reads = !o.method || o.method === 'GET';
  const last = reads && connection.value.state === 'ok' ? kept.get(name) : undefined;
  if (last && last.version === versionOf(name)) return last.data as T;
  const init: RequestInit = { method: o.method ?? 'GET', signal: o.signal ?? null, credentials: 'same-origin' };
  if (o.json !== undefined) {
    init.body = JSON.stringify(o.json);
    init.headers = { ...o.headers, 'Content-Type': 'application/json' };
  } else {
    if (o.form) init.body = o.form;
    if (o.headers) init.headers = o.headers;
  }
  let r: Response;
  try {
    r = await fetch(url, init);
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e;
    become({ state: 'unreachable', since: serverNow() });
    throw new ApiError('The server does not respond', 0, 'unreachable');
  } finally {
    if (!reads && !o.form) doubt();
  }
  if (r.ok || !o.aside) heard(r, !!o.early);
  let text: string;
  try {
    text = await r.text();
  } catch (e) {
    if ((e as Error).name === 'AbortError') throw e;
    throw new ApiError('The response was cut off', r.status, 'broken');
  }
  let body: unknown;
  try {
    body = text ? JSON.parse(text) : undefined;
  } catch {
    if (r.ok) throw new ApiError(`The response of ${path} is not JSON`, r.status);
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
    if (r.headers.has('X-Prometheus-Stopping')) starting(text);
    const { state } = connection.value;
    throw new ApiError(
      said || text.trim() || `${r.status} ${r.statusText}`,
      r.status,
      state === 'ok' ? envelope?.errorType : state,
    );
  }
  const keep = (data: T): T => {
    const version = r.headers.get('ETag')?.replace(/^W\/|"/g, '');
    if (reads && version && followed(name)) kept.set(name, { version, data });
    return data;
  };
  if (envelope && typeof envelope === 'object' && 'status' in envelope && 'data' in envelope) {
    const data = envelope.data as T;
    if (data && typeof data === 'object' && (envelope.warnings || envelope.infos)) {
      const value = { warnings: envelope.warnings ?? [], infos: envelope.infos ?? [] };
      Object.defineProperty(data, notices, { value });
      const { result } = data as { result?: unknown };
      if (Array.isArray(result)) Object.defineProperty(result, notices, { value }); // for who takes only that
      const lacks = lacksHistory(data);
      if (lacks) history.value = { text: lacks, at: Date.now() };
    }
    return keep(data);
  }
  return keep(body as T);
}

// history: what an answer said that lacks the older part, which another engine has
// (--query.url). The data of a page is not complete then.
export const history = signal<{ text: string; at: number } | undefined>(undefined);

const notices = Symbol('notices');

// noticesOf are the warnings and infos that came along with an answer.
export function noticesOf(data: unknown): { warnings: string[]; infos: string[] } {
  const n = data && typeof data === 'object' ? (data as Record<symbol, unknown>)[notices] : undefined;
  return (n as { warnings: string[]; infos: string[] }) ?? { warnings: [], infos: [] };
}

// lacksHistory is the server's warning that an answer lacks what another engine has; "" if it is complete.
export const lacksHistory = (data: unknown) =>
  noticesOf(data).warnings.find((w) => /^History (not reached|incomplete): /.test(w)) ?? '';
