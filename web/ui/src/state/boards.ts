// The boards that there are, and the values of their variables.
import { boards, oneBoard } from '../api/boards';
import { machines } from '../api/clanmon';
import { request } from '../api/client';
import { query } from '../api/prom';
import {
  ALL,
  choose,
  fill,
  listed,
  machineOptions,
  matched,
  namesOf,
  rangeVars,
  readValuesQuery,
  tagText,
  textOf,
  type Board,
  type Choice,
  type Values,
  type Variable,
} from '../lib/boards';
import type { Range } from '../lib/time';
import { range } from './clock';
import { useData } from './data';
import { location } from './location';

export const useBoards = (wanted = true) => useData(wanted ? 'boards' : null, boards, 60);

// SAVED is the board of Explore's saved queries.
export const SAVED = 'saved-queries';

// useSaved are the saved queries.
export function useSaved(): { title: string; expr: string }[] {
  const there = useBoards().data?.some((b) => b.name === SAVED && !b.error);
  const got = useData(there ? `board ${SAVED}` : null, (s) => oneBoard(SAVED, s), 60);
  return (got.data?.board?.panels ?? []).flatMap((t) =>
    (t.queries ?? []).map((q) => ({ title: t.title || q.expr, expr: q.expr })),
  );
}

export interface Resolved extends Values {
  choices: Record<string, Choice>;
  problems: string[]; // variables whose values could not be queried
}

// asked is what the URL says of a variable, as var-NAME.
const asked = (params: URLSearchParams, name: string) => params.getAll(`var-${name}`).flatMap((v) => v.split('|~|'));

// valuesOf queries the values of a variable.
async function valuesOf(v: Variable, values: Values, r: Range, signal: AbortSignal): Promise<string[]> {
  const q = readValuesQuery(fill(v.query ?? '', values, true));
  const params = { start: Math.floor(r.from), end: Math.ceil(r.to), limit: 2000 };
  const list = (path: string, match?: string) =>
    request<string[]>(path, { params: { ...params, 'match[]': match }, signal });
  switch (q.kind) {
    case 'values':
      return list(`/api/v1/label/${encodeURIComponent(q.label)}/values`, q.match);
    case 'names':
      return list('/api/v1/labels');
    case 'metrics': {
      const re = new RegExp(q.pattern);
      return (await list('/api/v1/label/__name__/values')).filter((n) => re.test(n));
    }
    case 'series': {
      const series = await request<Record<string, string>[]>('/api/v1/series', {
        params: { ...params, 'match[]': q.match },
        signal,
      });
      return series.map(seriesText);
    }
    case 'result': {
      const d = await query(q.expr, r.to, signal);
      if (d.resultType === 'scalar') return [String(d.result[1])];
      return d.resultType === 'vector'
        ? d.result.map((s) => `${seriesText(s.metric)} ${s.value?.[1] ?? ''} ${Math.round((s.value?.[0] ?? 0) * 1000)}`)
        : [];
    }
  }
}

function seriesText({ __name__: name = '', ...labels }: Record<string, string>): string {
  return `${name}{${Object.entries(labels)
    .map(([k, v]) => `${k}=${JSON.stringify(v)}`)
    .join(',')}}`;
}

// resolve gives all variables their values, one after the other where their queries need
// each other.
async function resolve(board: Board, params: URLSearchParams, r: Range, signal: AbortSignal): Promise<Resolved> {
  const all = board.variables ?? [];
  const out: Resolved = { vars: rangeVars(r), names: {}, each: {}, choices: {}, problems: [] };
  const fleet = all.some((v) => v.kind === 'machine' || v.kind === 'tag') ? await machines(signal) : [];
  let tag = params.get('tag') ?? '';
  const waiting = [...all].sort((a, b) => Number(b.kind === 'tag') - Number(a.kind === 'tag'));
  while (waiting.length) {
    const uses = (v: Variable) => waiting.some((w) => w !== v && new RegExp(`\\$\\{?${w.name}\\b`).test(v.query ?? ''));
    const i = Math.max(
      0,
      waiting.findIndex((v) => !uses(v)),
    );
    const v = waiting.splice(i, 1)[0]!;
    let options: Choice['options'] = [];
    if (v.kind === 'tag') {
      const tags = [...new Set(fleet.flatMap((m) => m.tags ?? []))].sort();
      options = [{ value: '', text: 'All machines' }, ...tags.map((t) => ({ value: t, text: t }))];
    } else if (v.kind === 'machine') options = machineOptions(fleet, tag);
    else if (v.kind === 'custom' || v.kind === 'interval') options = listed(v.values ?? []);
    else if (v.kind === 'constant') options = listed(v.value ?? []);
    else if (v.kind === 'query') {
      try {
        options = matched(await valuesOf(v, out, r, signal), v.regex ? fill(v.regex, out) : undefined);
      } catch (e) {
        if ((e as Error).name === 'AbortError') throw e;
        out.problems.push(`${v.label ?? v.name}: ${(e as Error).message}`);
      }
    }
    const chosen = choose(v, options, asked(params, v.name));
    const choice = { options, chosen };
    out.choices[v.name] = choice;
    out.names[v.name] = namesOf(choice);
    out.each[v.name] = chosen.includes(ALL) ? options.map((o) => o.value) : chosen;
    if (v.kind === 'tag') {
      tag = chosen[0] || tag;
      out.vars[v.name] = tagText(fleet, tag);
    } else if (v.kind === 'machine' && chosen.includes(ALL) && !tag) out.vars[v.name] = '.+';
    else if (v.kind === 'interval') out.vars[v.name] = chosen[0] === 'auto' ? '$step' : (chosen[0] ?? '1m');
    else out.vars[v.name] = textOf(v, choice);
  }
  return out;
}

// useVariables is undefined until the values are known.
export function useVariables(board: Board | undefined): { data?: Resolved | undefined; error?: Error | undefined } {
  const { params } = location.value;
  const r = range.value;
  const chosen = [...params].filter(([k]) => k.startsWith('var-') || k === 'tag');
  const length = Math.round(r.to - r.from);
  const key = JSON.stringify(['board variables', board?.variables ?? [], chosen, r.relative ?? [r.from, r.to], length]);
  const got = useData(
    board ? key : null,
    (signal) => resolve(board!, params, r, signal),
    board?.variables?.length ? 60 : 3600,
  );
  return { data: got.data, error: got.error };
}
