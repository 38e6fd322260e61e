// Boards: where panels are, what variables stand for, and what a value looks like.
import { named, filled, type Panel, type Threshold, type Vars } from './panel';
import { anyOf } from './quote';
import { stepFor, type Range } from './time';

export type Level = 'none' | 'ok' | 'warn' | 'crit';

export interface Place {
  x: number; // columns, of 24
  y: number; // rows
  w: number;
  h: number;
}

export interface Mapping {
  from?: number;
  to?: number;
  text: string;
  kind?: Level;
}

// Tile is a panel of a board, as server/boards/board.go has it.
export interface Tile extends Place {
  type: 'chart' | 'stat' | 'gauge' | 'bars' | 'table' | 'text' | 'row';
  title?: string;
  description?: string;
  unit?: string;
  queries?: Panel['queries'];
  kind?: 'line' | 'area' | 'stacked';
  min?: number;
  max?: number;
  thresholds?: { value: number; label?: string; kind: Level }[];
  base?: Level;
  calc?: 'last' | 'mean' | 'min' | 'max' | 'sum';
  mappings?: Mapping[];
  text?: string;
  collapsed?: boolean;
  repeat?: string; // a variable: shown once for each of its values
  down?: boolean; // those below each other
  perLine?: number; // those side by side, 4 by default
}

export interface Variable {
  name: string;
  label?: string;
  kind: 'machine' | 'tag' | 'query' | 'custom' | 'interval' | 'text' | 'constant';
  query?: string;
  regex?: string;
  values?: string[];
  value?: string[];
  multi?: boolean;
  all?: boolean;
  allValue?: string;
  hidden?: boolean;
}

export interface Board {
  version: 1;
  title: string;
  description?: string;
  variables?: Variable[];
  panels: Tile[];
}

export const COLUMNS = 24;
export const ROW = 30; // pixels of a row of the grid
export const GAP = 8; // between two

const overlap = (a: Place, b: Place) => a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;

const middle = (p: Place) => p.y + p.h / 2;
const beside = (a: Place, b: Place) => a.x < b.x + b.w && b.x < a.x + a.w; // one can be above the other

// arranged moves tiles up as far as those above allow; which ones these are is decided by
// their middles. tiles keep their order.
export function arranged<T extends Place>(tiles: T[]): T[] {
  return stacked(
    tiles,
    tiles.map((_, i) => i).sort((a, b) => middle(tiles[a]!) - middle(tiles[b]!) || tiles[a]!.x - tiles[b]!.x),
  );
}

// stacked places tiles in an order, each one as high as those before it allow.
function stacked<T extends Place>(tiles: T[], order: number[]): T[] {
  const out: T[] = [];
  for (const i of order) {
    const t = tiles[i]!;
    out[i] = { ...t, y: Math.max(0, ...out.filter((p) => p && beside(p, t)).map((p) => p.y + p.h)) };
  }
  return out;
}

// inside keeps a place within the columns.
export function inside(p: Place): Place {
  const w = Math.min(COLUMNS, Math.max(2, Math.round(p.w)));
  return {
    w,
    h: Math.min(100, Math.max(1, Math.round(p.h))),
    x: Math.min(COLUMNS - w, Math.max(0, Math.round(p.x))),
    y: Math.max(0, Math.round(p.y)),
  };
}

// moved puts one tile elsewhere, or makes it larger; the others make room. On its way down it
// changes places with the one below when its lower edge is past the middle of that; elsewhere
// its upper edge decides what is above it.
export function moved<T extends Place>(tiles: T[], i: number, to: Partial<Place>): T[] {
  const was = tiles[i]!;
  const put = { ...was, ...inside({ ...was, ...to }) };
  const all = tiles.map((t, k) => (k === i ? put : t));
  const order = all
    .map((_, k) => k)
    .filter((k) => k !== i)
    .sort((a, b) => middle(all[a]!) - middle(all[b]!) || all[a]!.x - all[b]!.x);
  const above = order.findLastIndex((k) => {
    const edge = put.y > was.y && beside(all[k]!, was) ? put.y + put.h : put.y;
    return beside(all[k]!, put) && middle(all[k]!) < edge;
  });
  order.splice(above + 1, 0, i);
  return stacked(all, order);
}

// nudged moves a tile by keys: up and down past the next one that is in the way.
export function nudged<T extends Place>(tiles: T[], i: number, dx: number, dy: number): T[] {
  const at = tiles[i]!;
  if (dx) return moved(tiles, i, { x: at.x + dx });
  for (let n = 1; n <= 100; n++) {
    const y = at.y + dy * n;
    if (y < 0) break;
    const got = moved(tiles, i, { y });
    if (got[i]!.y !== at.y) return got;
  }
  return tiles;
}

// free is where a new tile of that size goes: beside the last ones, or below them.
export function free(tiles: Place[], w: number, h: number): Place {
  const bottom = Math.max(0, ...tiles.map((t) => t.y + t.h));
  const top = Math.max(0, ...tiles.map((t) => t.y));
  for (let x = 0; x + w <= COLUMNS; x++) {
    const p = { x, y: top, w, h };
    if (!tiles.some((t) => overlap(t, p))) return p;
  }
  return { x: 0, y: bottom, w, h };
}

// One is a tile as it is shown: the ith of its board, with the values of one repetition.
export interface One {
  tile: Tile;
  i: number;
  key: string;
  values: Values;
}

// shown are the tiles that are not below a collapsed row. isOpen says of a row by its
// key whether somebody opened or closed it.
export function shown(all: One[], isOpen: (key: string) => boolean | undefined): One[] {
  const rows = [...all].sort((a, b) => a.tile.y - b.tile.y || a.tile.x - b.tile.x);
  let open = true;
  const seen = rows.filter(({ tile, key }) => {
    if (tile.type !== 'row') return open;
    open = isOpen(key) ?? !tile.collapsed;
    return true;
  });
  const places = arranged(seen.map((s) => s.tile));
  return seen.map((s, k) => ({ ...s, tile: places[k]! }));
}

// ones are the tiles of a board, each once.
export const ones = (tiles: Tile[], values: Values): One[] =>
  tiles.map((tile, i) => ({ tile, i, key: String(i), values }));

const MOST_REPEATED = 20; // of one panel or row
const MOST_SHOWN = 400; // tiles of a board

// repeated shows tiles once for each value of the variable that they name, and rows with what is
// below them; what follows makes room. notes say what is left out.
export function repeated(tiles: Tile[], values: Values): { all: One[]; notes: string[] } {
  const notes: string[] = [];
  const several = (t: Tile, v: Values): (string | undefined)[] => {
    const each = t.repeat === undefined ? undefined : v.each[t.repeat];
    if (!each?.length) return [undefined];
    if (each.length > MOST_REPEATED) {
      const note = `${fill(t.title ?? '', values) || t.type}: first ${MOST_REPEATED} of ${each.length} values of ${t.repeat}. Select fewer to see others.`;
      if (!notes.includes(note)) notes.push(note);
    }
    return each.slice(0, MOST_REPEATED);
  };
  const sorted = ones(tiles, values).sort((a, b) => a.tile.y - b.tile.y || a.tile.x - b.tile.x);
  const all: One[] = [];
  let down = 0;
  const row = (from: number) => sorted.findIndex((o, k) => k > from && o.tile.type === 'row');
  for (let k = 0; k < sorted.length; ) {
    const o = sorted[k]!;
    const next = o.tile.type === 'row' && o.tile.repeat ? row(k) : k + 1;
    const part = sorted.slice(k, next < 0 ? undefined : next);
    k += part.length;
    const top = o.tile.y;
    const height = Math.max(...part.map((x) => x.tile.y + x.tile.h)) - top;
    const ways = o.tile.type === 'row' ? several(o.tile, values) : [undefined];
    ways.forEach((way, n) => {
      const own = way === undefined ? values : only(values, o.tile.repeat!, way);
      if (n > 0) down += height;
      for (const x of part) {
        const again = x.tile.type === 'row' ? [undefined] : several(x.tile, own);
        const line = x.tile.down ? 1 : Math.min(again.length, x.tile.perLine || 4);
        const w = again.length > 1 && !x.tile.down ? Math.floor(COLUMNS / line) : x.tile.w;
        again.forEach((value, m) => {
          all.push({
            tile: {
              ...x.tile,
              ...(again.length > 1 && !x.tile.down && { w, x: (m % line) * w }),
              y: x.tile.y + down + Math.floor(m / line) * x.tile.h,
            },
            i: x.i,
            key: [x.i, ...(n || m ? [n, m] : [])].join('-'),
            values: value === undefined ? own : only(own, x.tile.repeat!, value),
          });
        });
        down += (Math.ceil(again.length / line) - 1) * x.tile.h;
      }
    });
  }
  if (all.length > MOST_SHOWN) {
    notes.push(`The first ${MOST_SHOWN} of ${all.length} panels are shown.`);
    all.length = MOST_SHOWN;
  }
  return { all, notes };
}

// only are values of which one variable has this one alone.
const only = (v: Values, name: string, value: string): Values => ({
  vars: { ...v.vars, [name]: group([value]) },
  names: { ...v.names, [name]: value },
  each: { ...v.each, [name]: [value] },
});

// ALL is what a variable is set to for all its values, in the URL and in files of Grafana.
export const ALL = '$__all';

// Choice of a variable: its values, and which are selected.
export interface Choice {
  options: { value: string; text: string }[];
  chosen: string[];
}

// choose keeps what is asked for as far as it exists, else what the board says, else the first.
export function choose(v: Variable, options: Choice['options'], asked: string[]): string[] {
  const has = (value: string) =>
    value === ALL ? !!v.all || v.kind === 'machine' : options.some((o) => o.value === value);
  for (const wanted of [asked, v.value ?? []]) {
    if (v.kind === 'text' && wanted.length) return wanted.slice(0, 1);
    const known = wanted.filter(has);
    if (known.length) return v.multi && !known.includes(ALL) ? known : known.slice(0, 1);
  }
  if (v.kind === 'text') return [''];
  if (v.all || v.kind === 'machine') return [ALL];
  return options.slice(0, 1).map((o) => o.value);
}

// group is a regular expression for exactly these values.
const group = (values: string[]) => (values.length > 1 ? `(${anyOf(values)})` : anyOf(values));

// textOf is what stands in a query: a regular expression where several values can be.
export function textOf(v: Variable, { options, chosen }: Choice): string {
  const all = chosen.includes(ALL);
  if (all && v.allValue) return v.allValue;
  const values = all ? options.map((o) => o.value) : chosen;
  if (!v.multi && !v.all && v.kind !== 'machine') return values[0] ?? '';
  return group(values);
}

// namesOf is what people read in place of a variable.
export const namesOf = ({ options, chosen }: Choice): string =>
  chosen.map((c) => (c === ALL ? 'all' : (options.find((o) => o.value === c)?.text ?? c))).join(', ');

const FORMATS: Record<string, (values: string[]) => string> = {
  regex: group,
  pipe: (v) => v.join('|'),
  csv: (v) => v.join(','),
  raw: (v) => v.join(','),
  text: (v) => v.join(' + '),
  glob: (v) => (v.length > 1 ? `{${v.join(',')}}` : (v[0] ?? '')),
};

// Values are the variables of a board: as they stand in queries, as people read them, and
// each value.
export interface Values {
  vars: Vars;
  names: Vars;
  each: Record<string, string[]>;
}

// fill replaces variables in a text, in an expression with PromQL's quoting.
export function fill(text: string, { vars, names, each }: Values, inExpr = false): string {
  const formatted = text.replace(/\$\{(\w+)[:.](\w+)[^}]*\}/g, (all, name: string, format: string) => {
    const values = each[name];
    return values ? (FORMATS[format] ?? FORMATS.regex!)(values) : all.replace(/[:.].*\}/, '}');
  });
  if (!inExpr) return filled(formatted, { ...vars, ...names });
  // What = compares with is no regular expression.
  const equal = formatted.replace(
    /([^=]=\s*")\$(?:\{(\w+)\}|(\w+))"/g,
    (all, before: string, a?: string, b?: string) => {
      const one = each[a ?? b!];
      return one?.length === 1 ? `${before}${JSON.stringify(one[0]).slice(1)}` : all;
    },
  );
  return filled(equal, vars, true);
}

// rangeVars are Grafana's variables for the range that a page shows.
export function rangeVars(r: Range): Vars {
  const length = Math.round(r.to - r.from);
  const step = stepFor(length);
  return {
    __range: `${length}s`,
    __range_s: String(length),
    __range_ms: String(length * 1000),
    __interval_ms: String(step * 1000),
    __rate_interval_ms: String(Math.max(60, step + 15) * 1000),
    __from: String(Math.round(r.from * 1000)),
    __to: String(Math.round(r.to * 1000)),
  };
}

// panelOf is what a chart draws of a tile.
export function panelOf(t: Tile, values: Values): Panel {
  return {
    title: fill(t.title ?? '', values),
    unit: t.unit ?? 'none',
    queries: (t.queries ?? []).map((q) => ({
      ...q,
      expr: fill(q.expr, values, true),
      ...(q.legend && { legend: fill(q.legend, values) }),
    })),
    ...(t.kind && { kind: t.kind }),
    ...(t.min !== undefined && { min: t.min }),
    ...(t.max !== undefined && { max: t.max }),
    ...(t.thresholds && {
      thresholds: t.thresholds
        .filter((x) => x.kind === 'warn' || x.kind === 'crit')
        .map((x) => ({ value: x.value, label: x.label ?? '', kind: x.kind as Threshold['kind'] })),
    }),
  };
}

// Pin turns a chart into a tile. Of one machine it can follow the board's variable.
export function pinned(p: Panel, title: string, follow: boolean): Omit<Tile, keyof Place> {
  return {
    type: 'chart',
    title,
    unit: p.unit,
    queries: p.queries.map((q) => ({ ...q, expr: follow ? q.expr.replaceAll(ONE, 'machine=~"$machine"') : q.expr })),
    ...(p.kind && p.kind !== 'line' && { kind: p.kind }),
    ...(p.min !== undefined && { min: p.min }),
    ...(p.max !== undefined && { max: p.max }),
    ...(p.thresholds?.length && {
      thresholds: p.thresholds
        .map((t) => ({ value: t.value, kind: t.kind, ...(t.label && { label: t.label }) }))
        .sort((a, b) => a.value - b.value),
    }),
  };
}

const ONE = /machine="(?:[^"\\]|\\.)*"/g;

// machineOf is the machine that all selectors of a chart name; undefined if there is not one.
export function machineOf(p: Panel): string | undefined {
  const all = new Set(p.queries.flatMap((q) => q.expr.match(ONE) ?? []));
  if (all.size !== 1) return undefined;
  try {
    return JSON.parse([...all][0]!.slice('machine='.length)) as string;
  } catch {
    return undefined;
  }
}

// added gives a board with one tile more, and the variable that it needs.
export function added(b: Board, tile: Omit<Tile, keyof Place>, machine?: string): Board {
  const needs =
    tile.queries?.some((q) => /\$\{?machine\b/.test(q.expr)) && !b.variables?.some((v) => v.name === 'machine');
  const w = tile.type === 'chart' || tile.type === 'table' ? 12 : 6;
  return {
    ...b,
    ...(needs && {
      variables: [...(b.variables ?? []), { name: 'machine', kind: 'machine', ...(machine && { value: [machine] }) }],
    }),
    panels: [...b.panels, { ...tile, ...free(b.panels, w, tile.type === 'chart' || tile.type === 'table' ? 8 : 4) }],
  };
}

// slugOf is a name for a board of that title that no other board has.
export function slugOf(title: string, taken: string[]): string {
  const base =
    title
      .toLowerCase()
      .normalize('NFKD')
      .replace(/[^a-z0-9]+/g, '-')
      .slice(0, 55)
      .replace(/^-+|-+$/g, '') || 'board';
  const used = new Set([...taken, 'import']);
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base}-${n}`;
    if (!used.has(name)) return name;
  }
}

// Found is a query of Grafana for the values of a variable.
export type Found =
  | { kind: 'values'; label: string; match?: string }
  | { kind: 'names' }
  | { kind: 'metrics'; pattern: string }
  | { kind: 'result'; expr: string }
  | { kind: 'series'; match: string };

export function readValuesQuery(text: string): Found {
  const call = /^\s*(\w+)\s*\(([\s\S]*)\)\s*$/.exec(text);
  const inner = call?.[2]?.trim() ?? '';
  switch (call?.[1]) {
    case 'label_values': {
      const m = /^([\s\S]*),\s*(\w+)$/.exec(inner);
      return m ? { kind: 'values', label: m[2]!, match: m[1]!.trim() } : { kind: 'values', label: inner };
    }
    case 'label_names':
      return { kind: 'names' };
    case 'metrics':
      return { kind: 'metrics', pattern: inner };
    case 'query_result':
      return { kind: 'result', expr: inner };
  }
  return { kind: 'series', match: text.trim() };
}

// matched applies a variable's regular expression, as Grafana does: what it does not match is
// left out, and a group is the value. A broken one changes nothing.
export function matched(values: string[], regex: string | undefined): { value: string; text: string }[] {
  const all = values.map((v) => ({ value: v, text: v }));
  if (!regex) return all;
  let re: RegExp;
  try {
    const parts = /^\/([\s\S]*)\/([gimsu]*)$/.exec(regex);
    re = parts ? new RegExp(parts[1]!, parts[2]!.replace('g', '')) : new RegExp(`^${regex}$`);
  } catch {
    return all;
  }
  const out = new Map<string, { value: string; text: string }>();
  for (const v of values) {
    const m = re.exec(v);
    if (!m) continue;
    const value = m.groups?.value ?? m[1] ?? v;
    if (!out.has(value)) out.set(value, { value, text: m.groups?.text ?? value });
  }
  return [...out.values()];
}

// listed are the values of a custom variable: "name : value" has another name.
export const listed = (values: string[]): Choice['options'] =>
  values.map((v) => {
    const m = /^(.+?)\s+:\s+(.+)$/.exec(v);
    return m ? { text: m[1]!, value: m[2]! } : { text: v, value: v };
  });

// Shown is a value as a tile has it.
export interface Shown {
  name: string;
  value: number | null;
  text?: string; // in place of the number
  level: Level;
}

// levelOf is the level of the last threshold that a value has reached.
export function levelOf(t: Tile, v: number | null): Level {
  if (v === null) return 'none';
  let level = t.base ?? 'none';
  for (const x of t.thresholds ?? []) if (v >= x.value) level = x.kind;
  return level;
}

export function shownOf(t: Tile, name: string, v: number | null): Shown {
  const m =
    v === null
      ? undefined
      : t.mappings?.find((x) => (x.from === undefined || v >= x.from) && (x.to === undefined || v <= x.to));
  return { name, value: v, level: m?.kind ?? levelOf(t, v), ...(m?.text && { text: m.text }) };
}

// reduced makes one value of a series.
export function reduced(values: (number | null)[], calc: Tile['calc'] = 'last'): number | null {
  const all = values.filter((v): v is number => v !== null && !Number.isNaN(v));
  if (!all.length) return null;
  const sum = all.reduce((a, b) => a + b, 0);
  switch (calc) {
    case 'mean':
      return sum / all.length;
    case 'sum':
      return sum;
    case 'min':
      return Math.min(...all);
    case 'max':
      return Math.max(...all);
  }
  return all.at(-1)!;
}

// limits are the ends of a gauge or bar.
export function limits(t: Tile, values: (number | null)[]): { min: number; max: number } {
  const min = t.min ?? 0;
  const most = Math.max(...values.filter((v) => v !== null), ...(t.thresholds ?? []).map((x) => x.value));
  const usual = t.unit === 'ratio' ? 1 : t.unit === 'percent' ? 100 : Number.isFinite(most) ? most : 1;
  const max = t.max ?? usual;
  return { min, max: max > min ? max : min + 1 };
}

// nameOf is what a tile calls a series: its legend, or its labels.
export const nameOf = (legend: string | undefined, labels: Record<string, string>): string =>
  named(legend ?? '', labels);

// machineOptions are the machines, or those of tags.
export function machineOptions(
  machines: { machine: string; tags?: string[] | null }[],
  tag: string,
): Choice['options'] {
  return machines
    .filter((m) => !tag || m.tags?.includes(tag))
    .map((m) => ({ value: m.machine, text: m.machine }))
    .sort((a, b) => a.text.localeCompare(b.text, 'en', { numeric: true }));
}

// tagText is what $tag stands for: the machines that have the tag.
export const tagText = (machines: { machine: string; tags?: string[] | null }[], tag: string): string =>
  tag ? anyOf(machineOptions(machines, tag).map((m) => m.value)) : '.+';
