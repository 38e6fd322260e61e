// One way to ask the server.

export const prefix = document.documentElement.dataset.prefix;

export class ApiError extends Error {
  constructor(message, { unreachable = false, starting = false } = {}) {
    super(message);
    this.unreachable = unreachable;
    this.starting = starting;
  }
}

/** GET /api/v1/<path>; returns the whole answer: data, warnings, infos. */
export async function ask(path, params = {}) {
  const query = new URLSearchParams();
  for (const [k, v] of Object.entries(params)) for (const one of [v].flat()) query.append(k, one);
  let response;
  try {
    response = await fetch(`${prefix}/api/v1/${path}?${query}`, { headers: { Accept: 'application/json' } });
  } catch {
    throw new ApiError('The server cannot be reached.', { unreachable: true });
  }
  if (response.status === 503) throw new ApiError('The server is starting: it replays its write-ahead log.', { unreachable: true, starting: true });
  let body;
  try {
    body = await response.json();
  } catch {
    throw new ApiError(`The server answered ${response.status}.`);
  }
  if (body.status !== 'success') throw new ApiError(body.error || `The server answered ${response.status}.`);
  return body;
}

export const get = async (path, params) => (await ask(path, params)).data;

/** Instant query: a list of {metric, value}. */
export async function vector(query) {
  const { result } = await get('query', { query });
  return result.map((e) => ({ metric: e.metric, value: Number(e.value[1]) }));
}

/** Range query over the last seconds, aligned to its step so that a refresh asks for the same points. */
export async function range(query, seconds, step = Math.max(15, Math.ceil(seconds / 250))) {
  const end = Math.floor(Date.now() / 1000 / step) * step;
  return matrix(query, end - seconds, end, step);
}

export async function matrix(query, start, end, step) {
  const body = await ask('query_range', { query, start, end, step });
  const result = body.data.result.map((e) => ({ metric: e.metric, points: (e.values || []).map(([t, v]) => [t, Number(v)]) }));
  return { result, start, end, step, warnings: [...(body.warnings || []), ...(body.infos || [])] };
}
