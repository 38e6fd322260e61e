import { expect, test } from 'vitest';
import * as b from './boards';

const at = (x: number, y: number, w: number, h: number) => ({ x, y, w, h });
const places = (tiles: b.Place[]) => tiles.map((t) => `${t.x},${t.y} ${t.w}x${t.h}`);

test('tiles move up, and one that is dragged past the middle of another changes places with it', () => {
  const tiles = [at(0, 0, 12, 8), at(12, 0, 12, 8), at(0, 8, 24, 4)];
  expect(places(b.arranged([at(0, 3, 12, 8), at(0, 30, 12, 4)]))).toEqual(['0,0 12x8', '0,8 12x4']);
  expect(b.moved(tiles, 0, { y: 1 })).toEqual(tiles);
  expect(places(b.moved(tiles, 0, { y: 7 }))).toEqual(['0,12 12x8', '12,0 12x8', '0,8 24x4']);
  expect(places(b.moved(tiles, 2, { y: 0 }))).toEqual(['0,4 12x8', '12,4 12x8', '0,0 24x4']);
  expect(places(b.moved(tiles, 1, { x: 40, w: 30 }))).toEqual(['0,8 12x8', '0,0 24x8', '0,16 24x4']);
  // Sideways and a little down, it stays as high.
  expect(places(b.moved(tiles, 0, { x: 12, y: 1 }))).toEqual(['12,0 12x8', '12,8 12x8', '0,16 24x4']);
  for (const t of [b.moved(tiles, 0, { x: 6, y: 5, h: 20 }), b.moved(tiles, 1, { x: 0 })])
    for (const [i, p] of t.entries())
      for (const q of t.slice(i + 1))
        expect(p.x < q.x + q.w && q.x < p.x + p.w && p.y < q.y + q.h && q.y < p.y + p.h).toBe(false);
});

test('keys move a tile past the next one', () => {
  const tiles = [at(0, 0, 24, 8), at(0, 8, 24, 4)];
  const down = b.nudged(tiles, 0, 0, 1);
  expect(places(down)).toEqual(['0,4 24x8', '0,0 24x4']);
  expect(places(b.nudged(down, 0, 0, -1))).toEqual(places(tiles));
  expect(b.nudged(tiles, 1, 0, 1)).toEqual(tiles); // it is the last one
});

test('a new tile goes beside the last one or below', () => {
  expect(b.free([], 12, 8)).toEqual(at(0, 0, 12, 8));
  expect(b.free([at(0, 0, 12, 8)], 12, 8)).toEqual(at(12, 0, 12, 8));
  expect(b.free([at(0, 0, 12, 8), at(12, 0, 12, 8)], 6, 4)).toEqual(at(0, 8, 6, 4));
});

test('what is below a collapsed row is hidden, and the rest moves up', () => {
  const tile = (type: b.Tile['type'], y: number, h: number, collapsed = false): b.Tile => ({
    type,
    ...at(0, y, 24, h),
    ...(collapsed && { collapsed }),
  });
  const tiles = [
    tile('stat', 0, 4),
    tile('row', 4, 1, true),
    tile('chart', 5, 8),
    tile('row', 13, 1),
    tile('chart', 14, 8),
  ];
  const all = b.ones(tiles, { vars: {}, names: {}, each: {} });
  const of = (isOpen: (key: string) => boolean | undefined) => b.shown(all, isOpen).map((s) => `${s.i} ${s.tile.y}`);
  expect(of(() => undefined)).toEqual(['0 0', '1 4', '3 5', '4 6']);
  expect(of((key) => key === '1')).toEqual(['0 0', '1 4', '2 5', '3 13']);
});

const options = ['a.example:9100', 'b'].map((v) => ({ value: v, text: v }));

test('a variable stands for one value, several or all', () => {
  const one: b.Variable = { name: 'node', kind: 'query' };
  const many: b.Variable = { ...one, multi: true, all: true };
  expect(b.choose(one, options, [])).toEqual(['a.example:9100']);
  expect(b.choose(one, options, ['b', 'x'])).toEqual(['b']);
  expect(b.choose(one, options, ['x'])).toEqual(['a.example:9100']);
  expect(b.choose({ ...one, value: ['b'] }, options, [])).toEqual(['b']);
  expect(b.choose(many, options, [])).toEqual([b.ALL]);
  expect(b.choose(many, options, ['a.example:9100', 'b'])).toEqual(['a.example:9100', 'b']);
  expect(b.choose({ name: 't', kind: 'text', value: ['x'] }, [], [])).toEqual(['x']);
  expect(b.textOf(one, { options, chosen: ['a.example:9100'] })).toBe('a.example:9100');
  expect(b.textOf(many, { options, chosen: ['a.example:9100'] })).toBe('a\\.example:9100');
  expect(b.textOf(many, { options, chosen: [b.ALL] })).toBe('(a\\.example:9100|b)');
  expect(b.textOf({ ...many, allValue: '.*' }, { options, chosen: [b.ALL] })).toBe('.*');
});

test("variables are filled in as Grafana's Prometheus data source does", () => {
  const v: b.Values = {
    vars: { node: '(a\\.b|c)', window: '5m', ...b.rangeVars({ from: 0, to: 3600 }) },
    names: { node: 'a.b, c' },
    each: { node: ['a.b', 'c'] },
  };
  expect(b.fill('up{x=~"$node"}', v, true)).toBe('up{x=~"(a\\\\.b|c)"}');
  expect(b.fill('up{x=~"${node:pipe}"}[$__range]', v, true)).toBe('up{x=~"a.b|c"}[3600s]');
  expect(b.fill('rate(x[$__rate_interval]) + rate(x[${window}]) + rate(x[$__interval])', v, true)).toBe(
    'rate(x[$rate]) + rate(x[5m]) + rate(x[$step])',
  );
  expect(b.fill('CPU of $node', v)).toBe('CPU of a.b, c');
  expect(b.namesOf({ options, chosen: [b.ALL] })).toBe('all');
  expect(b.fill('$other ${other:csv} ends$', v)).toBe('$other ${other} ends$');
});

test('a panel is repeated for each value, and what is below makes room', () => {
  const values: b.Values = {
    vars: { node: '(a\\.x|b|c|d|e)', disk: '(s|t)' },
    names: { node: 'all', disk: 'all' },
    each: { node: ['a.x', 'b', 'c', 'd', 'e'], disk: ['s', 't'] },
  };
  const tile = (title: string, y: number, more: Partial<b.Tile> = {}): b.Tile => ({
    type: 'chart',
    title,
    x: 0,
    y,
    w: 12,
    h: 8,
    queries: [{ expr: 'up{a="$node",b=~"$node"}' }],
    ...more,
  });
  const of = (tiles: b.Tile[], v = values) =>
    b.repeated(tiles, v).all.map((o) => `${b.fill(o.tile.title!, o.values)} ${o.tile.x},${o.tile.y} ${o.tile.w}`);
  const tiles = [tile('$node', 0, { repeat: 'node' }), tile('below', 8)];
  expect(of(tiles)).toEqual(['a.x 0,0 6', 'b 6,0 6', 'c 12,0 6', 'd 18,0 6', 'e 0,8 6', 'below 0,16 12']);
  expect(of([tile('$node', 0, { repeat: 'node', perLine: 2 })])[1]).toBe('b 12,0 12');
  expect(of([tile('$disk', 0, { repeat: 'disk', down: true }), tile('below', 8)])).toEqual([
    's 0,0 12',
    't 0,8 12',
    'below 0,16 12',
  ]);
  const [first] = b.repeated(tiles, values).all;
  expect(b.panelOf(first!.tile, first!.values).queries[0]!.expr).toBe('up{a="a.x",b=~"a\\\\.x"}');
  // A row takes along what is below it, where panels may be repeated too.
  const rows = [
    tile('disk $disk', 0, { type: 'row', h: 1, w: 24, repeat: 'disk' }),
    tile('$disk $node', 1, { repeat: 'node' }),
    tile('end', 9, { type: 'row', h: 1, w: 24 }),
  ];
  const some = { ...values, each: { ...values.each, node: ['b', 'c'] } };
  expect(of(rows, some)).toEqual([
    'disk s 0,0 24',
    's b 0,1 12',
    's c 12,1 12',
    'disk t 0,9 24',
    't b 0,10 12',
    't c 12,10 12',
    'end 0,18 24',
  ]);
  const keys = b.repeated(rows, some).all.map((o) => o.key);
  expect(new Set(keys).size).toBe(keys.length);
  // Without values it is shown once; many are bounded, and the page says so.
  expect(of(tiles, { ...values, each: {} })).toEqual(['all 0,0 12', 'below 0,8 12']);
  const many = { ...values, each: { node: Array.from({ length: 57 }, (_, i) => `m${i}`) } };
  const got = b.repeated([tile('CPU', 0, { repeat: 'node' })], many);
  expect(got.all).toHaveLength(20);
  expect(got.notes).toEqual(['CPU: first 20 of 57 values of node. Select fewer to see others.']);
});

test('queries for values are read as Grafana has them', () => {
  expect(b.readValuesQuery('label_values(node_uname_info{job=~"a,b", x="y"}, instance)')).toEqual({
    kind: 'values',
    label: 'instance',
    match: 'node_uname_info{job=~"a,b", x="y"}',
  });
  expect(b.readValuesQuery('label_values(job)')).toEqual({ kind: 'values', label: 'job' });
  expect(b.readValuesQuery('metrics(node_.*)')).toEqual({ kind: 'metrics', pattern: 'node_.*' });
  expect(b.readValuesQuery('query_result(topk(2, up))')).toEqual({ kind: 'result', expr: 'topk(2, up)' });
  expect(b.readValuesQuery('label_names()')).toEqual({ kind: 'names' });
  expect(b.readValuesQuery('up{a="b"}')).toEqual({ kind: 'series', match: 'up{a="b"}' });
  const text = (r: string) => b.matched(['sda 1', 'sdb 2', 'x'], r).map((o) => `${o.text}=${o.value}`);
  expect(text('/sd(.) /')).toEqual(['a=a', 'b=b']);
  expect(text('/(?<text>sd.) (?<value>\\d)/')).toEqual(['sda=1', 'sdb=2']);
  expect(text('x')).toEqual(['x=x']);
  expect(text('/(/')).toHaveLength(3);
  expect(b.listed(['one : 1', '2'])).toEqual([
    { text: 'one', value: '1' },
    { text: '2', value: '2' },
  ]);
});

test('a value has the level of its threshold or mapping', () => {
  const t: b.Tile = {
    type: 'stat',
    ...at(0, 0, 1, 1),
    base: 'crit',
    thresholds: [{ value: 1, kind: 'ok' }],
    mappings: [
      { from: 0, to: 0, text: 'down' },
      { from: 5, text: 'many', kind: 'warn' },
    ],
  };
  expect(b.shownOf(t, 'x', 0)).toEqual({ name: 'x', value: 0, level: 'crit', text: 'down' });
  expect(b.shownOf(t, 'x', 1)).toEqual({ name: 'x', value: 1, level: 'ok' });
  expect(b.shownOf(t, 'x', 9)).toEqual({ name: 'x', value: 9, level: 'warn', text: 'many' });
  expect(b.shownOf(t, 'x', null).level).toBe('none');
  expect(b.reduced([1, null, 3])).toBe(3);
  expect(b.reduced([1, null, 3], 'mean')).toBe(2);
  expect(b.reduced([null])).toBe(null);
  expect(b.limits({ ...t, unit: 'percent', thresholds: [] }, [7])).toEqual({ min: 0, max: 100 });
  expect(b.limits({ ...t, thresholds: [] }, [])).toEqual({ min: 0, max: 1 });
});

test('a pinned chart follows the machine of the board, or stays at its own', () => {
  const panel = { title: 'CPU', unit: 'ratio', queries: [{ expr: 'rate(x{machine="alpha",mode="idle"}[$rate])' }] };
  expect(b.machineOf(panel)).toBe('alpha');
  expect(b.machineOf({ ...panel, queries: [...panel.queries, { expr: 'y{machine="beta"}' }] })).toBe(undefined);
  const empty: b.Board = { version: 1, title: 'T', panels: [] };
  const follows = b.added(empty, b.pinned(panel, 'CPU', true), 'alpha');
  expect(follows.variables).toEqual([{ name: 'machine', kind: 'machine', value: ['alpha'] }]);
  expect(follows.panels[0]!.queries![0]!.expr).toBe('rate(x{machine=~"$machine",mode="idle"}[$rate])');
  const stays = b.added(follows, b.pinned(panel, 'CPU, alpha', false));
  expect(stays.panels[1]).toMatchObject({ x: 12, y: 0, queries: panel.queries });
  expect(b.slugOf('Über Disks!', ['uber-disks'])).not.toBe('uber-disks');
  expect(b.slugOf('import', [])).toBe('import-2');
});
