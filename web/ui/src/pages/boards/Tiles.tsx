// What is in the panels of a board.
import type { ComponentChildren } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { query, queryRange } from '../../api/prom';
import type { Labels } from '../../api/types/query';
import { ErrorNote } from '../../components/bits';
import { Icon } from '../../components/icons';
import { Blocks } from '../../components/Markdown';
import { PanelChart } from '../../components/PanelChart';
import { Table, type Column } from '../../components/Table';
import {
  fill,
  GAP,
  limits,
  nameOf,
  panelOf,
  reduced,
  ROW,
  shownOf,
  type Shown,
  type Tile,
  type Values,
} from '../../lib/boards';
import { exprFor } from '../../lib/chart';
import { format, unitNamed } from '../../lib/format';
import { blocksOf } from '../../lib/markdown';
import { aligned, stepFor } from '../../lib/time';
import { at, range } from '../../state/clock';
import { useData } from '../../state/data';

interface TileProps {
  tile: Tile;
  id: string;
  values: Values;
}

// TileContent draws a panel once it was in sight.
export function TileContent(p: TileProps) {
  switch (p.tile.type) {
    case 'chart':
      return <ChartTile {...p} />;
    case 'text':
      return <TextTile {...p} />;
    case 'table':
      return <Framed {...p}>{(seen) => <TableTile {...p} seen={seen} />}</Framed>;
    default:
      return <Framed {...p}>{(seen) => <ValueTile {...p} seen={seen} />}</Framed>;
  }
}

const pixels = (h: number) => h * ROW + (h - 1) * GAP;

function ChartTile({ tile, id, values }: TileProps) {
  // What is left of the tile's height after the title and one or two lines of the legend.
  const height = Math.max(60, pixels(tile.h) - 36 - (tile.h > 5 ? 60 : 34));
  return <PanelChart panel={panelOf(tile, values)} id={`panel-${id}`} height={height} live />;
}

function Framed({ tile, values, children }: TileProps & { children: (seen: boolean) => ComponentChildren }) {
  const box = useRef<HTMLDivElement>(null);
  const [seen, setSeen] = useState(false);
  useEffect(() => {
    const o = new IntersectionObserver(
      (es) => {
        if (es.some((e) => e.isIntersecting)) {
          setSeen(true);
          o.disconnect();
        }
      },
      { rootMargin: '200px' },
    );
    o.observe(box.current!);
    return () => o.disconnect();
  }, []);
  const title = fill(tile.title ?? '', values);
  return (
    <div class="panel framed" ref={box}>
      {title && (
        <h2 class="ellipsis" title={tile.description || title}>
          {title}
        </h2>
      )}
      {children(seen)}
    </div>
  );
}

function TextTile({ tile, values }: TileProps) {
  const title = fill(tile.title ?? '', values);
  return (
    <div class="panel framed">
      {title && <h2>{title}</h2>}
      <div class="tiletext stack" tabIndex={0} role="group" aria-label={title || 'Text'}>
        <Blocks list={blocksOf(fill(tile.text ?? '', values).split('\n'))} level={title ? 3 : 2} />
      </div>
    </div>
  );
}

interface Series {
  query: number;
  labels: Labels;
  value: number | null;
}

// useSeries asks for one value of each series.
function useSeries(tile: Tile, values: Values, seen: boolean) {
  const r = range.value;
  const step = stepFor(r.to - r.from);
  const exprs = (tile.queries ?? []).map((q) => exprFor(fill(q.expr, values, true), step));
  const whole = tile.type !== 'table' && tile.calc && tile.calc !== 'last';
  const key = JSON.stringify(['board panel', whole && [tile.calc, r.relative ?? [r.from, r.to]], exprs]);
  return useData(seen ? key : null, async (signal) => {
    const answers = await Promise.all(
      exprs.map(async (expr, query_): Promise<Series[]> => {
        if (whole) {
          const { start, end } = aligned(range.value, step);
          return (await queryRange(expr, start, end, step, signal)).map((s) => ({
            query: query_,
            labels: s.metric,
            value: reduced(
              (s.values ?? []).map(([, v]) => Number(v)),
              tile.calc,
            ),
          }));
        }
        const d = await query(expr, at.value, signal);
        if (d.resultType === 'scalar') return [{ query: query_, labels: {}, value: Number(d.result[1]) }];
        if (d.resultType !== 'vector') return [];
        return d.result.map((s) => ({ query: query_, labels: s.metric, value: s.value ? Number(s.value[1]) : null }));
      }),
    );
    return answers.flat();
  });
}

const MOST = 60; // values of one tile

function ValueTile({ tile, values, seen }: TileProps & { seen: boolean }) {
  const got = useSeries(tile, values, seen);
  if (got.error && !got.data) return <ErrorNote error={got.error} />;
  if (!got.data) return <div class="skeleton" />;
  const all = got.data.map((s) =>
    shownOf(
      tile,
      nameOf(legendOf(tile, s.query, values), s.labels),
      s.value !== null && Number.isNaN(s.value) ? null : s.value,
    ),
  );
  const list = all.slice(0, MOST);
  const ends = limits(
    tile,
    list.map((s) => s.value),
  );
  if (!list.length) return <p class="dim nothing">No data</p>;
  return (
    <>
      <ErrorNote error={got.error} />
      {tile.type === 'bars' ? (
        <ul class="bars" tabIndex={0} aria-label={tile.title ?? 'Values'}>
          {list.map((s) => (
            <li key={s.name}>
              <span class="ellipsis" title={s.name}>
                {s.name}
              </span>
              <span class="track" aria-hidden="true">
                <span class={`fill ${fillOf(s)}`} style={{ width: `${share(s.value, ends) * 100}%` }} />
              </span>
              <Figure s={s} tile={tile} />
            </li>
          ))}
        </ul>
      ) : (
        <ul
          class={`boardfigures ${tile.type}${list.length > 1 ? ' many' : ''}`}
          tabIndex={0}
          aria-label={tile.title ?? 'Values'}
        >
          {list.map((s) => (
            <li key={s.name}>
              {tile.type === 'gauge' && <Arc part={share(s.value, ends)} level={fillOf(s)} />}
              <Figure s={s} tile={tile} />
              {(list.length > 1 || tile.queries?.[0]?.legend) && (
                <span class="of ellipsis" title={s.name}>
                  {s.name}
                </span>
              )}
            </li>
          ))}
        </ul>
      )}
      {all.length > MOST && <p class="dim">and {all.length - MOST} more</p>}
    </>
  );
}

const legendOf = (tile: Tile, i: number, values: Values) => {
  const legend = tile.queries?.[i]?.legend;
  return legend && fill(legend, values);
};
const fillOf = (s: Shown) => (s.level === 'none' ? 'plain' : s.level);
const share = (v: number | null, { min, max }: { min: number; max: number }) =>
  v === null ? 0 : Math.min(1, Math.max(0, (v - min) / (max - min)));

// A level is never a colour alone.
function Figure({ s, tile }: { s: Shown; tile: Tile }) {
  const text = s.text ?? format(s.value, unitNamed(tile.unit ?? 'none'));
  const bad = s.level === 'warn' || s.level === 'crit';
  return (
    <b class={`figure ${s.level}`}>
      {bad && <Icon name={s.level} />}
      {text}
      {bad && <span class="sr"> {s.level === 'crit' ? 'critical' : 'warning'}</span>}
    </b>
  );
}

// Arc is three quarters of a circle, filled as far as part says.
function Arc({ part, level }: { part: number; level: string }) {
  const point = (f: number) => {
    const a = ((135 + 270 * f) * Math.PI) / 180;
    return `${(50 + 42 * Math.cos(a)).toFixed(2)} ${(50 + 42 * Math.sin(a)).toFixed(2)}`;
  };
  const arc = (f: number) => `M${point(0)}A42 42 0 ${f > 2 / 3 ? 1 : 0} 1 ${point(f)}`;
  return (
    <svg class="arc" viewBox="0 0 100 88" aria-hidden="true">
      <path class="rest" d={arc(1)} />
      {part > 0.002 && <path class={level} d={arc(part)} />}
    </svg>
  );
}

function TableTile({ tile, id, values, seen }: TileProps & { seen: boolean }) {
  const got = useSeries(tile, values, seen);
  if (got.error && !got.data) return <ErrorNote error={got.error} />;
  if (!got.data) return <div class="skeleton" />;
  const { rows, labels } = tableOf(got.data);
  const several = (tile.queries?.length ?? 0) > 1;
  const columns: Column<Row>[] = [
    ...labels.map((l) => ({ id: l, title: l, sort: (r: Row) => r.labels[l], cell: (r: Row) => r.labels[l] ?? '' })),
    ...(tile.queries ?? []).map((_, k) => {
      const title = legendOf(tile, k, values)?.replace(/\{\{.*?\}\}/g, '') || (several ? `Value ${k + 1}` : 'Value');
      return {
        id: `value${k}`,
        title,
        num: true,
        sort: (r: Row) => r.values[k] ?? undefined,
        cell: (r: Row) => <Figure s={shownOf(tile, title, r.values[k] ?? null)} tile={tile} />,
      };
    }),
  ];
  return (
    <>
      <ErrorNote error={got.error} />
      <div class="tiletable">
        <Table
          label={fill(tile.title ?? 'Table', values)}
          rows={rows}
          columns={columns}
          rowKey={(r) => r.key}
          sortParam={`sort-${id}`}
          listKeys={false}
          empty={<p class="dim nothing">No data</p>}
        />
      </div>
    </>
  );
}

interface Row {
  key: string;
  labels: Labels;
  values: (number | null)[]; // by query
}

// tableOf puts values of the same labels into one row.
function tableOf(all: Series[]): { rows: Row[]; labels: string[] } {
  const rows = new Map<string, Row>();
  const labels = new Set<string>();
  for (const s of all) {
    const { __name__: _, ...rest } = s.labels;
    const key = JSON.stringify(Object.entries(rest).sort());
    const row = rows.get(key) ?? { key, labels: rest, values: [] };
    row.values[s.query] = s.value;
    rows.set(key, row);
    for (const l of Object.keys(rest)) labels.add(l);
  }
  // machine says most, and instance what it says already.
  const order = ['machine', ...labels].filter((l, k, list) => labels.has(l) && list.indexOf(l) === k);
  return { rows: [...rows.values()], labels: order };
}
