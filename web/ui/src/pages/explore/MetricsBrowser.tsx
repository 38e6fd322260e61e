// All metrics of the server, to look through.
import { useMemo, useState } from 'preact/hooks';
import { labelNames, labelValues, metadata, metaOf, metricNames } from '../../api/metadata';
import { Empty, ErrorNote, Overlay } from '../../components/bits';
import { Table } from '../../components/Table';
import { score } from '../../lib/search';
import { selector } from '../../lib/promql';
import { useData } from '../../state/data';

interface Row {
  name: string;
  type: string;
  help: string;
}

export function MetricsBrowser({ onChoose, onClose }: { onChoose: (metric: string) => void; onClose: () => void }) {
  const [text, setText] = useState('');
  const [open, setOpen] = useState('');
  const names = useData('metric names', metricNames, 300);
  const meta = useData('metadata', metadata, 300);
  const all = useMemo<Row[]>(
    () =>
      (names.data ?? []).map((name) => {
        const m = metaOf(meta.data, name);
        return { name, type: m?.type === 'unknown' ? '' : (m?.type ?? ''), help: m?.help ?? '' };
      }),
    [names.data, meta.data],
  );
  const rows = useMemo(() => {
    const words = text.trim().toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return all;
    return all
      .map((r) => ({
        r,
        s:
          words.length === 1
            ? Math.max(score(words[0]!, r.name), r.help.toLowerCase().includes(words[0]!) ? 220 : 0)
            : words.every((w) => `${r.name} ${r.type} ${r.help}`.toLowerCase().includes(w))
              ? 1
              : 0,
      }))
      .filter((x) => x.s > 0)
      .sort((a, b) => b.s - a.s)
      .map((x) => x.r);
  }, [all, text]);
  const shown = all.find((r) => r.name === open);
  return (
    <Overlay kind="dialog" title="Metrics" onClose={onClose}>
      <input
        class="field"
        autofocus
        type="search"
        aria-label="Search metrics"
        placeholder="Search names and help texts"
        value={text}
        onInput={(e) => setText(e.currentTarget.value)}
        onKeyDown={(e) => {
          if (e.key === 'Enter' && rows[0] && text) onChoose(rows[0].name);
        }}
      />
      <ErrorNote error={names.error} what="The metrics could not be loaded" />
      {shown && <Details r={shown} onChoose={onChoose} />}
      <div class="metriclist">
        <Table
          label="Metrics"
          rows={rows}
          rowKey={(r) => r.name}
          sortParam="metrics"
          listKeys={false}
          onOpen={(r) => setOpen(r.name)}
          rowClass={(r) => (r.name === open ? 'active' : '')}
          columns={[
            {
              id: 'name',
              title: 'Metric',
              class: 'ellipsis mono',
              width: '52%',
              cell: (r) => (
                <button type="button" class="link" title={r.name} onClick={() => setOpen(r.name)}>
                  {r.name}
                </button>
              ),
            },
            { id: 'type', title: 'Type', width: '84px', cell: (r) => <span class="dim">{r.type}</span> },
            { id: 'help', title: 'Help', class: 'ellipsis', cell: (r) => <span title={r.help}>{r.help}</span> },
          ]}
          empty={
            names.data ? (
              <Empty
                icon="search"
                title="No metrics match"
                why={
                  text
                    ? `“${text}”, in ${all.length.toLocaleString('en')} metrics of the last 6 hours`
                    : 'Nothing was scraped in the last 6 hours.'
                }
              />
            ) : (
              <div class="skeleton" />
            )
          }
        />
      </div>
      <p class="dim">
        {rows.length.toLocaleString('en')} of {all.length.toLocaleString('en')} metrics
      </p>
    </Overlay>
  );
}

function Details({ r, onChoose }: { r: Row; onChoose: (metric: string) => void }) {
  const match = selector({ name: r.name, matchers: [] });
  const labels = useData(`labels of ${r.name}`, () => labelNames(match), 300);
  const [label, setLabel] = useState('');
  const values = useData(label ? `values of ${label} in ${r.name}` : null, () => labelValues(label, match), 300);
  const name = r.name;
  const use = (expr: string, word: string) => (
    <button type="button" class="btn" onClick={() => onChoose(expr)}>
      {word}
    </button>
  );
  const counter = r.type === 'counter' || /_(total|count|sum|bucket)$/.test(name);
  return (
    <div class="panel body metricdetails">
      <div class="row">
        <b class="mono wrap grow">{name}</b>
        <span class="chip">{r.type || 'no type'}</span>
      </div>
      <p>{r.help || <span class="dim">No description.</span>}</p>
      <div class="row">
        {use(match, 'Insert')}
        {counter && use(`rate(${match}[5m])`, 'Insert rate')}
        {name.endsWith('_bucket') &&
          use(`histogram_quantile(0.95, sum by (le) (rate(${match}[5m])))`, 'Insert 95th percentile')}
      </div>
      <div class="row labelrow">
        <span class="dim">Labels</span>
        {(labels.data ?? [])
          .filter((l) => l !== '__name__')
          .map((l) => (
            <button
              type="button"
              class={`chip mono${l === label ? ' on' : ''}`}
              key={l}
              aria-expanded={l === label}
              onClick={() => setLabel(l === label ? '' : l)}
            >
              {l}
            </button>
          ))}
      </div>
      {label && values.data && (
        <div class="row labelrow valuelist">
          <span class="dim">
            {values.data.length} {values.data.length === 1 ? 'value' : 'values'}
          </span>
          {values.data.slice(0, 200).map((v) => (
            <button
              type="button"
              class="chip mono"
              key={v}
              title="Insert with this value"
              onClick={() => onChoose(selector({ name, matchers: [{ name: label, type: '=', value: v }] }))}
            >
              {v || '“”'}
            </button>
          ))}
          {values.data.length > 200 && <span class="dim">and {values.data.length - 200} more</span>}
        </div>
      )}
    </div>
  );
}
