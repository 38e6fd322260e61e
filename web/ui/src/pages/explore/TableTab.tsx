// The answer at the end of the range as a table.
import { useMemo, useState } from 'preact/hooks';
import { query } from '../../api/prom';
import type { Histogram, QueryData } from '../../api/types/query';
import { Empty, Menu, Overlay } from '../../components/bits';
import { Icon } from '../../components/icons';
import { Table, type Column } from '../../components/Table';
import type { Query } from '../../lib/explore';
import { DASH } from '../../lib/format';
import { seriesName } from '../../lib/chart';
import { csv, histogramText, ownColumns, tableOf, type ResultRow, type ResultTable } from '../../lib/result';
import { dateTime } from '../../lib/time';
import { at } from '../../state/clock';
import { useNotKept } from '../../state/kept';
import { isUTC } from '../../state/prefs';
import { copy, toast } from '../../state/toast';
import { Notices, QueryError, RunLine, TRUNCATED } from './bits';
import { noticesOf } from '../../api/client';
import { useRun } from './useRun';

const MOST = 100_000; // rows asked for; a table of more helps nobody
const LARGE = 5_000; // rows from which on it is not refreshed by itself

const size = (d: QueryData) => (d.resultType === 'vector' || d.resultType === 'matrix' ? d.result.length : 1);

export function TableTab({
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
  const run = useRun(
    q.expr ? q.expr : null,
    nth,
    async (signal) => {
      try {
        const d = await query(q.expr, at.value, signal, { stats: 'true', limit: String(MOST) });
        failed(undefined);
        return d;
      } catch (e) {
        if (!signal.aborted) failed({ expr: q.expr, message: (e as Error).message });
        throw e;
      }
    },
    (d) => size(d) > LARGE,
  );
  const table = useMemo(() => (run.data ? tableOf(run.data) : undefined), [run.data]);
  const [open, setOpen] = useState<ResultRow | null>(null);
  const columns = useMemo(() => (table ? columnsOf(table, q.without, setOpen) : []), [table, q.without.join()]);
  const cut = noticesOf(run.data).warnings.includes(TRUNCATED);
  const single = run.data && (run.data.resultType === 'scalar' || run.data.resultType === 'string');
  const names = table ? [...Object.keys(table.common), ...table.labels.map((l) => l.name)] : [];
  const what =
    !run.data || !table ? '' : single ? run.data.resultType : `${table.rows.length.toLocaleString('en')} series`;

  return (
    <div class="result">
      <RunLine run={run} what={what}>
        {table && !single && table.rows.length > 0 ? (
          <>
            {table.labels.length > 1 && (
              <Menu icon="columns" title="Columns">
                {() =>
                  table.labels.map((l) => (
                    <button
                      type="button"
                      key={l.name}
                      role="menuitemcheckbox"
                      aria-checked={!q.without.includes(l.name)}
                      onClick={() =>
                        change({
                          without: q.without.includes(l.name)
                            ? q.without.filter((x) => x !== l.name)
                            : [...q.without, l.name],
                        })
                      }
                    >
                      <span style={{ width: '16px' }}>{!q.without.includes(l.name) && <Icon name="ok" />}</span>
                      {title(l.name)}
                    </button>
                  ))
                }
              </Menu>
            )}
            <Menu icon="copy" title="Copy or save the table">
              {(close) => (
                <>
                  <button
                    type="button"
                    onClick={() => {
                      close();
                      void copy(csv(table, '\t'), `${table.rows.length.toLocaleString('en')} rows copied`);
                    }}
                  >
                    <Icon name="copy" />
                    Copy, for a spreadsheet
                  </button>
                  <button
                    type="button"
                    onClick={() => {
                      close();
                      save(csv(table), 'query.csv');
                    }}
                  >
                    <Icon name="down_" />
                    Save as CSV
                  </button>
                  <button
                    type="button"
                    onClick={() => {
                      close();
                      void copy(JSON.stringify(run.data, null, 1), 'Copied as JSON');
                    }}
                  >
                    <Icon name="copy" />
                    Copy as JSON
                  </button>
                </>
              )}
            </Menu>
          </>
        ) : null}
      </RunLine>
      {!run.running && <QueryError expr={q.expr} error={run.error} />}
      <Notices data={run.data} />
      {cut && (
        <p class="note warn">
          The server has more series; the first {MOST.toLocaleString('en')} are shown. Aggregate with sum by (…), or
          select fewer.
        </p>
      )}
      {run.data === undefined && run.running && (
        <div class="waiting">
          <div class="skeleton" />
          <div class="skeleton" style={{ width: '70%' }} />
        </div>
      )}
      {table && (
        <div class={run.old || run.error ? 'stale' : ''}>
          {single ? (
            <p class="single">{table.rows[0]?.value}</p>
          ) : (
            <>
              {Object.keys(table.common).length > 0 && (
                <p class="common">
                  <span class="dim">All rows:</span>
                  {Object.entries(table.common).map(([k, v]) => (
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
                </p>
              )}
              <Table
                label={`Result of query ${i + 1}`}
                rows={table.rows}
                columns={columns}
                rowKey={rowKey}
                sortParam={`g${i}.sort`}
                listKeys={false}
                card={(r) => <RowCard r={r} table={table} open={setOpen} />}
                empty={<Empty icon="chart" title="No data" why={<NoData expr={q.expr} />} />}
              />
            </>
          )}
        </div>
      )}
      {open && <Points r={open} names={names} onClose={() => setOpen(null)} />}
    </div>
  );
}

const rowKey = (r: ResultRow) => String(r.i);
const title = (label: string) => (label === '__name__' ? 'Metric' : label);

function NoData({ expr }: { expr: string }) {
  const kept = useNotKept(true);
  return (
    <>
      {kept ??
        `The query is valid, but no series matches ${at.value === undefined ? 'now' : `at ${dateTime(at.value, isUTC())}`}.`}{' '}
      {!kept && /[{(]/.test(expr) ? 'Explain shows which part returns nothing.' : ''}
    </>
  );
}

function columnsOf(t: ResultTable, without: string[], open: (r: ResultRow) => void): Column<ResultRow>[] {
  const { own, rest } = ownColumns(t, without);
  const labels = own.map(
    (l): Column<ResultRow> => ({
      id: l.name,
      title: title(l.name),
      class: 'ellipsis mono',
      width: `${Math.min(l.width, 34)}ch`,
      sort: (r) => r.labels[l.name],
      cell: (r) =>
        r.labels[l.name] === undefined ? (
          <span class="dim">{DASH}</span>
        ) : (
          <span title={r.labels[l.name]}>{r.labels[l.name]}</span>
        ),
    }),
  );
  if (rest.length) {
    const text = (r: ResultRow) =>
      rest
        .filter((n) => r.labels[n] !== undefined)
        .map((n) => `${n}=${JSON.stringify(r.labels[n])}`)
        .join(', ');
    labels.push({
      id: 'rest',
      title: 'Other labels',
      class: 'ellipsis mono',
      sort: text,
      cell: (r) => <span title={text(r)}>{text(r)}</span>,
    });
  }
  const value: Column<ResultRow> = {
    id: 'value',
    title: t.matrix ? 'Last value' : 'Value',
    num: true,
    class: 'mono nowrap',
    sort: (r) => r.number,
    cell: (r) =>
      r.histogram ? (
        <button type="button" class="chip" title="Show the buckets" onClick={() => open(r)}>
          {histogramText(r.histogram)}
        </button>
      ) : (
        (r.value ?? DASH)
      ),
  };
  if (!t.matrix) return [...labels, value];
  return [
    ...labels,
    value,
    {
      id: 'points',
      title: 'Samples',
      num: true,
      sort: (r) => r.points,
      cell: (r) => (
        <button type="button" class="chip" title="Show the samples" onClick={() => open(r)}>
          {r.points}
        </button>
      ),
    },
  ];
}

function RowCard({ r, table, open }: { r: ResultRow; table: ResultTable; open: (r: ResultRow) => void }) {
  const labels = table.labels.filter((l) => r.labels[l.name] !== undefined);
  return (
    <span class="rowcard">
      <span class="labels">
        {labels.length ? (
          labels.map((l) => (
            <span key={l.name}>
              <span class="dim">{title(l.name)}</span> {r.labels[l.name]}
            </span>
          ))
        ) : (
          <span class="dim">no labels</span>
        )}
      </span>
      <span class="value">
        {r.histogram || table.matrix ? (
          <button type="button" class="chip" onClick={() => open(r)}>
            {r.histogram ? histogramText(r.histogram) : `${r.points} samples, last ${r.value}`}
          </button>
        ) : (
          <b class="mono">{r.value ?? DASH}</b>
        )}
      </span>
    </span>
  );
}

// Points shows what does not fit into a row: the samples of a matrix, the
// buckets of a histogram.
function Points({ r, names, onClose }: { r: ResultRow; names: string[]; onClose: () => void }) {
  const samples = [
    ...(r.values ?? []).map(([t, v]) => ({ t, v })),
    ...(r.histograms ?? []).map(([t, h]) => ({ t, v: histogramText(h) })),
  ].sort((a, b) => b.t - a.t);
  return (
    <Overlay kind="sheet" title={r.points === undefined ? 'Histogram' : 'Samples'} onClose={onClose}>
      <p class="mono wrap">
        {seriesName(Object.fromEntries(names.filter((n) => r.labels[n] !== undefined).map((n) => [n, r.labels[n]!])))}
      </p>
      {r.histogram && <Buckets h={r.histogram} />}
      {samples.length > 0 && (
        <Table
          label="Samples"
          rows={samples}
          rowKey={(s) => String(s.t)}
          sortParam="samples"
          listKeys={false}
          columns={[
            {
              id: 'time',
              title: 'Time',
              cell: (s) => (
                <span class="nowrap num" title={String(s.t)}>
                  {dateTime(s.t, isUTC(), true)}
                </span>
              ),
            },
            { id: 'value', title: 'Value', num: true, class: 'mono', cell: (s) => s.v },
          ]}
        />
      )}
    </Overlay>
  );
}

function Buckets({ h }: { h: Histogram }) {
  const buckets = h.buckets ?? [];
  const most = Math.max(...buckets.map((b) => Number(b[3])), 1e-300);
  const open = ['(', '[', '(', '['];
  const close = [']', ')', ')', ']'];
  return (
    <table class="table buckets" aria-label="Buckets">
      <thead>
        <tr>
          <th scope="col">Bucket</th>
          <th scope="col" class="num">
            Count
          </th>
          <th scope="col">
            <span class="sr">Share</span>
          </th>
        </tr>
      </thead>
      <tbody>
        {buckets.map(([kind, low, high, n]) => (
          <tr key={`${low} ${high}`}>
            <td class="mono nowrap">
              {open[kind]}
              {short(low)}, {short(high)}
              {close[kind]}
            </td>
            <td class="num">{n}</td>
            <td class="bar">
              <span style={{ width: `${(Number(n) / most) * 100}%` }} />
            </td>
          </tr>
        ))}
        {!buckets.length && (
          <tr>
            <td colSpan={3} class="dim">
              No buckets: {histogramText(h)}
            </td>
          </tr>
        )}
      </tbody>
    </table>
  );
}

const short = (s: string) => (/^[+-]?Inf$/.test(s) ? s : String(Number(Number(s).toPrecision(5))));

function save(text: string, name: string): void {
  const url = URL.createObjectURL(new Blob([text], { type: 'text/csv' }));
  const a = document.createElement('a');
  a.href = url;
  a.download = name;
  a.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
  toast(`Saved as ${name}`);
}
