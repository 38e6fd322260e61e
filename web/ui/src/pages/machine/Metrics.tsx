import { useMemo } from 'preact/hooks';
import { metadata } from '../../api/metadata';
import { vector } from '../../api/prom';
import { Empty, ErrorNote, Loading, Overlay } from '../../components/bits';
import { exploreHref } from '../../components/ChartMenu';
import { Table, type Column } from '../../components/Table';
import { seriesName } from '../../lib/chart';
import { format, raw } from '../../lib/format';
import { timeOf, unitOf } from '../../lib/machine';
import { dateTime } from '../../lib/time';
import { useData } from '../../state/data';
import { param, setParams } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { useAbout } from './context';

interface Row {
  name: string;
  type: string;
  help: string;
  series?: number;
  min?: number;
  max?: number;
}

const scraped = (m: string) => `${m},instance!="",__name__!~".*:.*|ALERTS.*"`;

export function Metrics() {
  const a = useAbout();
  const { m } = a;
  const s = scraped(m);
  const values = useData(
    `metric values ${m} ${a.when ?? ''}`,
    (signal) =>
      vector(
        ['count', 'min', 'max']
          .map((f) => `label_replace(${f} by (__name__) ({${s}}), "figure", "${f}", "", "")`)
          .join(' or '),
        a.when,
        signal,
      ),
    60,
  );
  const meta = useData('metadata', metadata, 600);
  const rows = useMemo(() => {
    const by = new Map<string, Row>();
    const of = (name: string) => {
      let r = by.get(name);
      if (!r) {
        // Parts of histograms and summaries are described by their family.
        const d = meta.data?.[name]?.[0] ?? meta.data?.[name.replace(/_(bucket|count|sum)$/, '')]?.[0];
        by.set(name, (r = { name, type: d?.type ?? '', help: d?.help ?? '' }));
      }
      return r;
    };
    for (const n of a.metrics ?? []) if (!n.includes(':') && !n.startsWith('ALERTS')) of(n);
    for (const v of values.data ?? []) {
      const n = Number(v.value?.[1]);
      const r = of(v.metric.__name__ ?? '');
      if (v.metric.figure === 'count') r.series = n;
      if (v.metric.figure === 'min') r.min = n;
      if (v.metric.figure === 'max') r.max = n;
    }
    return [...by.values()];
  }, [a.metrics, values.data, meta.data]);
  const text = param('q').toLowerCase();
  const shown = useMemo(
    () => rows.filter((r) => text.split(/\s+/).every((w) => `${r.name} ${r.help}`.toLowerCase().includes(w))),
    [rows, text],
  );
  const open = param('metric');
  const explore = (r: Row) => exploreHref([r.type === 'counter' ? `rate(${r.name}{${m}}[5m])` : `${r.name}{${m}}`]);
  const columns = useMemo<Column<Row>[]>(
    () => [
      {
        id: 'name',
        title: 'Metric',
        width: '34%',
        sort: (r) => r.name,
        class: 'mono',
        cell: (r) => (
          <button type="button" class="linkish" title={r.name} onClick={() => setParams({ metric: r.name }, false)}>
            {r.name}
          </button>
        ),
      },
      {
        id: 'type',
        title: 'Type',
        width: '92px',
        sort: (r) => r.type,
        cell: (r) => (r.type && r.type !== 'unknown' ? r.type : <span class="dim">–</span>),
      },
      {
        id: 'series',
        title: 'Series',
        num: true,
        width: '76px',
        sort: (r) => r.series,
        cell: (r) =>
          r.series ?? (
            <span class="dim" title="No current series; there were some in the selected range">
              –
            </span>
          ),
      },
      {
        id: 'value',
        title: 'Last value',
        num: true,
        width: '180px',
        sort: (r) => r.max,
        cell: (r) => (
          <span class="nowrap">
            {r.series === undefined
              ? '–'
              : r.min === r.max
                ? valueText(r.name, r.max)
                : `${valueText(r.name, r.min)} … ${valueText(r.name, r.max)}`}
          </span>
        ),
      },
      { id: 'help', title: 'Help', min: 120, rank: 1, cell: (r) => <span title={r.help}>{r.help || '–'}</span> },
      {
        id: 'explore',
        title: 'Explore',
        width: '84px',
        cell: (r) => (
          <a href={explore(r)} aria-label={`Open ${r.name} in Explore`}>
            Explore
          </a>
        ),
      },
    ],
    [m],
  );
  if (!values.data && !values.error) return <Loading lines={5} />;
  return (
    <>
      <div class="row">
        <input
          class="field"
          type="search"
          style={{ flex: '0 1 320px' }}
          aria-label="Filter metrics"
          placeholder="Filter: name, help"
          value={param('q')}
          onInput={(e) => setParams({ q: e.currentTarget.value })}
        />
        <span class="dim">
          {shown.length === rows.length ? `${rows.length} metrics` : `${shown.length} of ${rows.length} metrics`},{' '}
          {format(
            rows.reduce((n, r) => n + (r.series ?? 0), 0),
            'count',
          )}{' '}
          current series
        </span>
      </div>
      <ErrorNote error={values.error} what="The values could not be loaded" />
      <ErrorNote error={meta.error} what="The types and help texts could not be loaded" />
      <section class={`panel metrictable${a.away ? ' stale' : ''}`}>
        <Table
          label="Metrics"
          pagewide
          fixed
          rows={shown}
          columns={columns}
          rowKey={(r) => r.name}
          defaultSort="name"
          onOpen={(r) => setParams({ metric: r.name }, false)}
          card={(r) => (
            <span class="stack" style={{ gap: '2px' }}>
              <b class="mono ellipsis">{r.name}</b>
              <span class="dim ellipsis">{r.help}</span>
              <span>
                {r.type || 'no type'},{' '}
                {r.series === undefined
                  ? 'no current series'
                  : r.series === 1
                    ? valueText(r.name, r.max)
                    : `${r.series} series`}
              </span>
            </span>
          )}
          empty={
            <Empty icon="filter" title={rows.length ? 'No metrics match the filter' : 'No metrics in this range'} />
          }
        />
      </section>
      {open && <Sheet key={open} name={open} row={rows.find((r) => r.name === open)} />}
    </>
  );
}

// valueText writes a value in the unit that the name of its metric says.
function valueText(name: string, v: number | undefined): string {
  const t = timeOf(name, v);
  return t === undefined ? format(v, unitOf(name)) : dateTime(t, isUTC());
}

const MOST = 200;

function Sheet({ name, row }: { name: string; row: Row | undefined }) {
  const a = useAbout();
  const sel = `{__name__=${JSON.stringify(name)},${a.m}}`;
  const got = useData(`series ${sel} ${a.when ?? ''}`, (s) => vector(sel, a.when, s));
  const list = got.data ?? [];
  return (
    <Overlay kind="sheet" title={name} onClose={() => setParams({ metric: null }, false)}>
      {row?.help && <p>{row.help}</p>}
      <p class="row">
        <span class="chip">{row?.type || 'no type'}</span>
        <a class="btn" href={exploreHref([row?.type === 'counter' ? `rate(${name}{${a.m}}[5m])` : `${name}{${a.m}}`])}>
          Open in Explore
        </a>
      </p>
      <ErrorNote error={got.error} />
      {!got.data && !got.error && <Loading />}
      {got.data && !list.length && (
        <Empty title="No current series" why="This metric had series in the selected range." />
      )}
      {list.length > 0 && (
        <table class="table loose">
          <tbody>
            {list.slice(0, MOST).map((s) => {
              const { __name__: _n, machine: _m, ...rest } = s.metric;
              return (
                <tr key={JSON.stringify(s.metric)}>
                  <td class="mono wrap">{seriesName(rest)}</td>
                  <td class="num mono">{s.value ? raw(s.value[1]) : `${s.histogram?.[1].count} observations`}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
      )}
      {list.length > MOST && <p class="dim">and {list.length - MOST} more; open Explore for all</p>}
    </Overlay>
  );
}
