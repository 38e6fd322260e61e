// The query over the range: lines, stacked, or a heatmap of a histogram.
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { noticesOf, request } from '../../api/client';
import { rangeData, vector } from '../../api/prom';
import type { MatrixSeries, QueryData } from '../../api/types/query';
import { exemplarsOf, type Exemplar, type ExemplarSeries } from '../../lib/exemplars';
import { Legend, useHidden } from '../../components/chart/Legend';
import { atText, Plot } from '../../components/chart/Plot';
import { saveCSV, savePNG } from '../../components/chart/save';
import { ChartMenu, slug } from '../../components/ChartMenu';
import { Empty, Time } from '../../components/bits';
import { useMarks } from '../../components/Marks';
import { Table } from '../../components/Table';
import { colour, firstTime, lastIndex, seriesName, type Dot, type Line } from '../../lib/chart';
import { guessedUnit, POINTS, type Density, type Mode, type Query } from '../../lib/explore';
import { heatOf, isClassic, isNative } from '../../lib/heatmap';
import { format, UNITS, type Unit } from '../../lib/format';
import { panelOf } from '../../lib/panel';
import { RangeCache, type Grid } from '../../lib/rangeCache';
import { aligned, dateTime, durationText, parseDuration, stepFor } from '../../lib/time';
import { begins } from '../../state/begun';
import { frozen, range } from '../../state/clock';
import { useNotKept } from '../../state/kept';
import { isUTC } from '../../state/prefs';
import { Notices, QueryError, RunLine, TRUNCATED } from './bits';
import { Heatmap } from './Heatmap';
import { useRun, type Run } from './useRun';

const MOST = 200; // series drawn unless all are asked for
const MOST_HEAT = 10_000; // series added up in a heatmap
const LEGEND = 200;

interface Answer {
  from: number;
  to: number;
  begun: number;
  grid: Grid;
  times: number[];
  series: { metric: Record<string, string>; values: (number | null)[] }[];
  raw: MatrixSeries[];
  cut: boolean;
  data: QueryData;
}

export function GraphTab({
  q,
  nth,
  i,
  change,
  failed,
}: {
  q: Query;
  nth: number;
  i: number;
  change: (q: Partial<Query>) => void;
  failed: (e: { expr: string; message: string } | undefined) => void;
}) {
  const [all, setAll] = useState(false);
  const { from, to } = range.value;
  const length = to - from;
  const step = q.step ?? stepFor(length, 1, POINTS[q.density]);
  const cache = useRef(new RangeCache(2));
  const heat = q.mode === 'heatmap';
  const tooFine = length / step > 11_000;

  const run = useRun<Answer>(
    q.expr && !tooFine ? JSON.stringify([q.expr, step, heat, all, frozen.value ? from : length]) : null,
    nth,
    async (signal) => {
      const r = range.value;
      const grid = { ...aligned(r, step), step };
      const id = `${all} ${q.expr}`;
      // A refresh asks only for new steps. What was cut off, or has histograms,
      // cannot be continued.
      const asked = heat ? grid : cache.current.missing(id, grid);
      try {
        const data = await rangeData(q.expr, asked, signal, {
          stats: 'true',
          limit: String(heat ? MOST_HEAT : all ? 0 : MOST),
        });
        failed(undefined);
        const raw = data.resultType === 'matrix' ? data.result : [];
        const begun = performance.now();
        const cut = noticesOf(data).warnings.includes(TRUNCATED);
        if (heat) return { from: r.from, to: r.to, begun, grid, times: [], series: [], raw, cut, data };
        const frame = cache.current.put(id, grid, asked, raw);
        if (cut || raw.some((s) => s.histograms?.length)) cache.current = new RangeCache(2);
        return {
          from: r.from,
          to: r.to,
          begun,
          grid,
          times: frame.times,
          series: frame.series.slice(0, all ? undefined : MOST),
          raw,
          cut,
          data,
        };
      } catch (e) {
        if (!signal.aborted) failed({ expr: q.expr, message: (e as Error).message });
        throw e;
      }
    },
    (a) => a.series.length > 2_000,
  );

  const exemplars = useRun<Exemplar[]>(
    q.exemplars && !heat && q.expr ? JSON.stringify([q.expr, frozen.value ? from : length]) : null,
    nth,
    (signal) =>
      request<ExemplarSeries[]>('/api/v1/query_exemplars', {
        params: { query: q.expr, start: range.value.from, end: range.value.to },
        signal,
      }).then((d) => exemplarsOf(d ?? [])),
    () => false,
  );
  const dots = useMemo(() => exemplars.data?.map(dotOf), [exemplars.data, isUTC()]);

  const a = run.data;
  const total = useTotal(a?.cut && !run.old ? q.expr : null);
  const native = !!a && isNative(a.raw);
  const kept = useNotKept(!!a && (heat ? a.raw : a.series).length === 0 && !run.error);
  const lines = useMemo(() => linesOf(a), [a]);
  const drawn = heat ? undefined : lines;
  const setMode = (mode: Mode) => change({ mode });

  return (
    <div class="result">
      <RunLine
        run={run}
        what={
          a && (
            <>
              {a.cut
                ? `first ${(heat ? MOST_HEAT : MOST).toLocaleString('en')}`
                : (heat ? a.raw : a.series).length.toLocaleString('en')}{' '}
              series · step {durationText(a.grid.step) === '0s' ? `${a.grid.step}s` : durationText(a.grid.step)}
            </>
          )
        }
      >
        <span class="group" role="group" aria-label="Kind of graph">
          {(['lines', 'stacked', 'heatmap'] as Mode[]).map((m) => (
            <button type="button" class="btn" key={m} aria-pressed={q.mode === m} onClick={() => setMode(m)}>
              {m[0]!.toUpperCase() + m.slice(1)}
            </button>
          ))}
        </span>
        {!heat && (
          <button
            type="button"
            class="btn"
            aria-pressed={q.exemplars}
            title="Individual measurements with labels such as a trace ID"
            onClick={() => change({ exemplars: !q.exemplars })}
          >
            Exemplars
          </button>
        )}
        {q.mode === 'lines' && (
          <button
            type="button"
            class="btn"
            aria-pressed={q.log}
            title="Logarithmic axis: values above zero only"
            onClick={() => change({ log: !q.log })}
          >
            Log scale
          </button>
        )}
        {!heat && <UnitPicker q={q} change={change} />}
        <StepPicker q={q} change={change} auto={step} />
      </RunLine>
      {tooFine && (
        <p class="note warn" role="alert">
          A step of {durationText(step)} gives more than 11,000 points per series, the server’s limit.{' '}
          <button type="button" class="btn" onClick={() => change({ step: undefined })}>
            Use an automatic step
          </button>
        </p>
      )}
      {!run.running && <QueryError expr={q.expr} error={run.error} />}
      {a && <Notices data={a.data} />}
      {a?.cut && !heat && (
        <p class="note warn">
          {total ? `${total.toLocaleString('en')} series` : `More than ${MOST} series`}; the first {MOST} are drawn.{' '}
          <button type="button" class="btn" onClick={() => setAll(true)}>
            Show all{total ? ` ${total.toLocaleString('en')}` : ''}
          </button>
        </p>
      )}
      {a?.cut && heat && (
        <p class="note warn">
          Only the first {MOST_HEAT.toLocaleString('en')} series are included. Aggregate with sum by (le) (…), or select
          fewer.
        </p>
      )}
      {all && (
        <p class="dim runline">
          All series are drawn.{' '}
          <button type="button" class="btn" onClick={() => setAll(false)}>
            Only the first {MOST}
          </button>
        </p>
      )}
      {!a && run.running && (
        <div class="waiting">
          <div class="skeleton" style={{ height: '344px' }} />
        </div>
      )}
      {a && (heat ? a.raw.length === 0 : a.series.length === 0) && !run.error && (
        <Empty icon="chart" title="No data in this range" why={kept ?? 'Select a longer range or open Explain.'} />
      )}
      {a && heat && a.raw.length > 0 && (
        <HeatPart a={a} stale={run.old || !!run.error} toLines={() => setMode('lines')} />
      )}
      {a && !heat && native && (
        <p class="note">
          These are native histograms.{' '}
          <button type="button" class="btn" onClick={() => setMode('heatmap')}>
            Show as heatmap
          </button>
        </p>
      )}
      {a && !heat && !native && isClassic(a.raw) && q.mode === 'lines' && a.raw.length > 3 && (
        <p class="dim runline">
          These are the buckets of a histogram.{' '}
          <button type="button" class="btn" onClick={() => setMode('heatmap')}>
            Show as heatmap
          </button>
        </p>
      )}
      {drawn && drawn.lines.length > 0 && (
        <Lines {...drawn} a={a!} q={q} i={i} stale={run.old || !!run.error} dots={dots} />
      )}
      {q.exemplars && !heat && <ExemplarList i={i} run={exemplars} />}
    </div>
  );
}

const dotOf = (e: Exemplar): Dot => ({
  time: e.time,
  value: e.value,
  text: [
    `${format(e.value)} at ${dateTime(e.time, isUTC(), true)}`,
    ...Object.entries(e.labels).map(([k, v]) => `${k}=${v}`),
    seriesName(e.series),
  ],
});
const labelsOf = (e: Exemplar) =>
  Object.entries(e.labels)
    .map(([k, v]) => `${k}=${v}`)
    .join('  ');

// ExemplarList has what the graph shows by dots, to read and to copy.
function ExemplarList({ i, run }: { i: number; run: Run<Exemplar[]> }) {
  const all = run.data ?? [];
  if (run.error)
    return (
      <p class="note crit" role="alert">
        <b>Exemplars: </b>
        {run.error.message}
      </p>
    );
  if (!run.data) return null;
  if (!all.length)
    return (
      <p class="note">
        No exemplars in this range. Targets expose them in the OpenMetrics format only, and the server stores them with{' '}
        <code>--enable-feature=exemplar-storage</code>.
      </p>
    );
  return (
    <details class="exemplars">
      <summary>
        {all.length.toLocaleString('en')} {all.length === 1 ? 'exemplar' : 'exemplars'}, the diamonds in the graph
      </summary>
      <Table
        label={`Exemplars of query ${i + 1}`}
        rows={all}
        rowKey={(e) => `${e.time} ${e.value} ${JSON.stringify([e.labels, e.series])}`}
        sortParam={`g${i}.exemplars`}
        listKeys={false}
        columns={[
          { id: 'time', title: 'Time', sort: (e) => e.time, cell: (e) => <Time time={e.time} withSeconds /> },
          {
            id: 'value',
            title: 'Value',
            num: true,
            sort: (e) => e.value,
            cell: (e) => <span title={String(e.value)}>{format(e.value)}</span>,
          },
          { id: 'labels', title: 'Labels', class: 'mono nowrap', cell: (e) => labelsOf(e) },
          {
            id: 'series',
            title: 'Series',
            class: 'mono nowrap',
            cell: (e) => <span class="dim">{seriesName(e.series)}</span>,
          },
        ]}
        card={(e) => (
          <span class="stack" style={{ gap: '4px' }}>
            <span class="row">
              <span class="grow">
                <Time time={e.time} withSeconds />
              </span>
              <b class="num">{format(e.value)}</b>
            </span>
            <span class="mono ellipsis">{labelsOf(e)}</span>
            <span class="mono dim ellipsis">{seriesName(e.series)}</span>
          </span>
        )}
      />
    </details>
  );
}

const names = new Intl.Collator('en', { numeric: true });

// All labels in which the series differ name them.
function linesOf(
  a: Answer | undefined,
): { times: number[]; lines: Line[]; common: Record<string, string> } | undefined {
  if (!a) return undefined;
  const with_ = a.series.filter((s) => s.values.some((v) => v !== null));
  const common: Record<string, string> = {};
  if (with_.length > 1) {
    Object.assign(common, with_[0]!.metric);
    for (const s of with_) for (const k in common) if (s.metric[k] !== common[k]) delete common[k];
  }
  const lines = with_.map((s) => ({
    name: seriesName(common.__name__ ? omit(s.metric, '__name__') : s.metric, common),
    labels: s.metric,
    query: 0,
    values: s.values,
    negate: false,
    colour: '',
  }));
  lines.sort((x, y) => names.compare(x.name, y.name));
  for (const [i, l] of lines.entries()) l.colour = colour(i);
  return { times: a.times, lines, common };
}

function omit(l: Record<string, string>, name: string) {
  const { [name]: _, ...rest } = l;
  return rest;
}

// useTotal counts the series of an answer that was cut off.
function useTotal(expr: string | null): number | undefined {
  const [n, set] = useState<{ expr: string; n: number } | undefined>();
  useEffect(() => {
    if (expr === null || n?.expr === expr) return;
    const abort = new AbortController();
    vector(`count(${expr}\n)`, frozen.value ? range.value.to : undefined, abort.signal).then(
      (v) => set({ expr, n: Number(v[0]?.value?.[1] ?? 0) }),
      () => undefined,
    );
    return () => abort.abort();
  }, [expr]);
  return expr !== null && n?.expr === expr ? n.n : undefined;
}

function Lines({
  times,
  lines,
  common,
  a,
  q,
  i,
  stale,
  dots,
}: {
  dots: Dot[] | undefined;
  times: number[];
  lines: Line[];
  common: Record<string, string>;
  a: Answer;
  q: Query;
  i: number;
  stale: boolean;
}) {
  const hidden = useHidden();
  const box = useRef<HTMLDivElement>(null);
  const unit = q.unit ?? guessedUnit(q.expr);
  const title = `Query ${i + 1}`;
  const stack = q.mode === 'stacked';
  const [cursor, setCursor] = useState<number | null>(null);
  const [focus, setFocus] = useState<string | null>(null);
  const { step } = a.grid;
  const marks = useMarks(lines);
  const data = useMemo(
    () => ({ times, lines, hiddenSeries: 0, time: 0, from: a.from, to: a.to, step, begun: a.begun }),
    [a, lines],
  );
  useEffect(() => begins(firstTime(times, lines)), [data]);
  useEffect(() => {
    hidden.clear();
    setCursor(null);
  }, [q.expr]);
  const at = cursor ?? lastIndex(lines, times.length);
  return (
    <div class="chart" ref={box}>
      <div class="graphtime">
        {Object.keys(common).length > 0 && (
          <span class="common">
            <span class="dim">All series:</span>
            {Object.entries(common).map(([k, v]) => (
              <span class="chip mono" key={k}>
                <span class="wrap">
                  {k === '__name__' ? (
                    <b>{v}</b>
                  ) : (
                    <>
                      {k}=<b>{v}</b>
                    </>
                  )}
                </span>
              </span>
            ))}
          </span>
        )}
        <span class="at">{at !== null && times[at] !== undefined && atText(times[at]!, data)}</span>
        <ChartMenu
          id={slug(title)}
          title={title}
          unit={unit}
          panel={() =>
            panelOf({ title: q.expr, unit, stack, min: q.min, queries: [{ expr: q.expr, name: seriesName }] }, lines)
          }
          exprs={[q.expr]}
          rules={[q.expr]}
          full
          explore
          lines={lines}
          onCSV={() => saveCSV(slug(title), times, lines)}
          onPNG={() =>
            savePNG(
              slug(title),
              q.expr,
              box.current!.querySelector('canvas')!,
              lines.filter((l) => !hidden.off.has(l.name)).slice(0, LEGEND),
            )
          }
        />
      </div>
      <Plot
        title={title}
        unit={unit}
        log={q.log && !stack}
        data={data}
        off={hidden.off}
        onCursor={setCursor}
        onFocus={setFocus}
        stale={stale}
        stack={stack}
        height={320}
        marks={marks}
        {...(dots && { dots })}
        {...(q.min !== undefined && { min: q.min })}
      />
      <div class="legend explorelegend">
        <Legend
          lines={lines.slice(0, LEGEND)}
          at={at}
          unit={unit}
          stack={stack}
          stats
          focus={focus}
          off={hidden.off}
          onToggle={(name, only) => hidden.toggle(name, only, lines)}
          titleOf={(l) => seriesName(l.labels)}
          mono
        />
        {lines.length > LEGEND && (
          <span class="dim">and {(lines.length - LEGEND).toLocaleString('en')} more, all drawn</span>
        )}
      </div>
    </div>
  );
}

function HeatPart({ a, stale, toLines }: { a: Answer; stale: boolean; toLines: () => void }) {
  const heat = useMemo(() => heatOf(a.raw, a.grid), [a]);
  if (!heat)
    return (
      <Empty
        icon="chart"
        title="Not a histogram"
        why="A heatmap needs series with the label le, such as sum by (le) (rate(…_bucket[5m])), or native histograms."
      >
        <button type="button" class="btn" onClick={toLines}>
          Show as lines
        </button>
      </Empty>
    );
  if (!heat.rows.length) return <Empty icon="chart" title="All buckets are empty in this range" />;
  return <Heatmap heat={heat} stale={stale} step={a.grid.step} />;
}

const UNIT_NAMES: Record<Unit, string> = {
  none: 'No unit',
  count: 'Count',
  ratio: 'Percent (0–1)',
  percent: 'Percent (0–100)',
  bytes: 'Bytes',
  bytesps: 'Bytes/s',
  bitsps: 'Bits/s',
  seconds: 'Seconds',
  milliseconds: 'Milliseconds',
  celsius: '°C',
  perSecond: 'Per second',
  hertz: 'Hertz',
  volts: 'Volts',
  watts: 'Watts',
  rpm: 'rpm',
};

function UnitPicker({ q, change }: { q: Query; change: (q: Partial<Query>) => void }) {
  const guessed = guessedUnit(q.expr);
  return (
    <label class="steppick">
      <span class="sr">Unit</span>
      <select
        class="field"
        value={q.unit ?? ''}
        onChange={(e) => change({ unit: UNITS.find((u) => u === e.currentTarget.value) })}
      >
        <option value="">{guessed === 'none' ? 'Unit' : UNIT_NAMES[guessed]}</option>
        {UNITS.map((u) => (
          <option key={u} value={u}>
            {UNIT_NAMES[u]}
          </option>
        ))}
      </select>
    </label>
  );
}

const STEPS = ['1s', '5s', '15s', '30s', '1m', '5m', '15m', '1h', '6h', '1d'];
function StepPicker({ q, change, auto }: { q: Query; change: (q: Partial<Query>) => void; auto: number }) {
  const steps = [
    ...new Set([
      ...STEPS,
      ...(q.step ? [durationText(q.step) === '0s' ? `${q.step * 1000}ms` : durationText(q.step)] : []),
    ]),
  ];
  const value = q.step ? (q.step < 1 ? `${q.step * 1000}ms` : durationText(q.step)) : q.density;
  return (
    <label class="steppick">
      <span class="sr">Resolution</span>
      <select
        class="field"
        value={value}
        onChange={(e) => {
          const v = e.currentTarget.value;
          const s = parseDuration(v);
          change(s ? { step: s } : { step: undefined, density: v as Density });
        }}
      >
        <optgroup label="Automatic">
          {(['low', 'medium', 'high'] as Density[]).map((d) => (
            <option key={d} value={d}>
              {d === 'low' ? 'Coarse' : d === 'medium' ? 'Medium' : 'Fine'}
              {!q.step && q.density === d ? `, ${durationText(auto) === '0s' ? auto : durationText(auto)}` : ''}
            </option>
          ))}
        </optgroup>
        <optgroup label="Step">
          {steps.map((s) => (
            <option key={s} value={s}>
              {s}
            </option>
          ))}
        </optgroup>
      </select>
    </label>
  );
}
