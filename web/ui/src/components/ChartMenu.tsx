// The menu of a chart: its query, Explore, a link, an alerting rule, large.
import { useState } from 'preact/hooks';
import { alertRule, median } from '../lib/alertRule';
import { PASTS, type Line } from '../lib/chart';
import type { Unit } from '../lib/format';
import type { Panel } from '../lib/panel';
import { hereWith, href, param, setParams } from '../state/location';
import { copy } from '../state/toast';
import { Menu, Overlay, Snippet } from './bits';
import { Icon } from './icons';
import { Pin } from './Pin';
import { ChangeButton } from './Who';

export const slug = (title: string) =>
  title
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-|-$/g, '');

// exploreHref opens queries in Explore as graphs of the same range.
export function exploreHref(exprs: string[], tab: 'graph' | 'table' = 'graph'): string {
  const p: Record<string, string> = {};
  exprs.forEach((e, i) => {
    p[`g${i}.expr`] = e;
    p[`g${i}.tab`] = tab;
  });
  return href('/explore', p);
}

// panel gives the chart as data, for what keeps or sends it.
export function ChartMenu({
  id,
  title,
  unit,
  panel,
  exprs,
  rules,
  full,
  explore,
  lines,
  band,
  onCSV,
  onPNG,
}: {
  id: string;
  title: string;
  unit?: Unit | undefined;
  panel: () => Panel;
  exprs: string[];
  rules: string[];
  full: boolean;
  explore?: boolean; // the chart is in Explore, which has its own link
  lines: Line[] | undefined;
  band?: { on: boolean; set: (on: boolean) => void };
  onCSV?: () => void;
  onPNG?: () => void;
}) {
  const [dialog, setDialog] = useState<'query' | 'rule' | 'pin' | ''>('');
  return (
    <>
      <Menu icon="more" title={`Menu of ${title}`} class="plain chartmenu">
        {(close) => (
          <>
            <button
              type="button"
              onClick={() => {
                close();
                setDialog('query');
              }}
            >
              <Icon name="list" />
              View query
            </button>
            {!explore && (
              <a href={exploreHref(exprs)} onClick={close}>
                <Icon name="chart" />
                Open in Explore
              </a>
            )}
            {band && (
              <button
                type="button"
                aria-pressed={band.on}
                onClick={() => {
                  close();
                  band.set(!band.on);
                }}
              >
                <Icon name={band.on ? 'ok' : 'chart'} />
                Min–max band
              </button>
            )}
            {!explore &&
              Object.entries(PASTS).map(([past, { title }]) => (
                <button
                  type="button"
                  key={past}
                  aria-pressed={param('past') === past}
                  onClick={() => {
                    close();
                    setParams({ past: param('past') === past ? null : past }, false);
                  }}
                >
                  <Icon name={param('past') === past ? 'ok' : 'clock'} />
                  {title}
                </button>
              ))}
            {!explore && (
              <button
                type="button"
                onClick={() => {
                  close();
                  void copy(window.location.origin + hereWith({ chart: id }), 'Link to the chart copied');
                }}
              >
                <Icon name="link" />
                Copy link
              </button>
            )}
            <button
              type="button"
              onClick={() => {
                close();
                void copy(JSON.stringify(panel(), null, 2), 'Chart copied as JSON');
              }}
            >
              <Icon name="copy" />
              Copy as JSON
            </button>
            <ChangeButton
              type="button"
              onClick={() => {
                close();
                setDialog('pin');
              }}
            >
              <Icon name="pin" />
              Pin to board
            </ChangeButton>
            <button
              type="button"
              onClick={() => {
                close();
                setDialog('rule');
              }}
            >
              <Icon name="alerts" />
              Create alert rule
            </button>
            {onCSV && (
              <button
                type="button"
                onClick={() => {
                  close();
                  onCSV();
                }}
              >
                <Icon name="save" />
                Download CSV
              </button>
            )}
            {onPNG && (
              <button
                type="button"
                onClick={() => {
                  close();
                  onPNG();
                }}
              >
                <Icon name="save" />
                Download PNG
              </button>
            )}
            {!full && (
              <button
                type="button"
                onClick={() => {
                  close();
                  setParams({ chart: id }, false);
                }}
              >
                <Icon name="expand" />
                Full screen
              </button>
            )}
          </>
        )}
      </Menu>
      {dialog === 'query' && (
        <Overlay kind="dialog" title={`Queries of ${title}`} onClose={() => setDialog('')}>
          {exprs.map((e) => (
            <Snippet key={e} text={e} />
          ))}
          <p class="dim">Rate windows grow with the range: at least four scrape intervals, at least one step.</p>
        </Overlay>
      )}
      {dialog === 'pin' && <Pin panel={panel()} onClose={() => setDialog('')} />}
      {dialog === 'rule' && (
        <RuleText title={title} unit={unit} rules={rules} lines={lines} onClose={() => setDialog('')} />
      )}
    </>
  );
}

function RuleText({
  title,
  unit,
  rules,
  lines,
  onClose,
}: {
  title: string;
  unit: Unit | undefined;
  rules: string[];
  lines: Line[] | undefined;
  onClose: () => void;
}) {
  const [which, setWhich] = useState(0);
  const [op, setOp] = useState('>');
  const [limit, setLimit] = useState(() => String(median(lines?.filter((l) => l.query === 0) ?? [])));
  const [hold, setHold] = useState('10m');
  const [severity, setSeverity] = useState('warning');
  const [every, setEvery] = useState(true);
  const expr = rules[which]!;
  const one = /machine="(?:[^"\\]|\\.)*"/.test(expr);
  const text = alertRule({ title, expr, op, limit, hold, severity, every: one && every, unit });
  return (
    <Overlay kind="dialog" title="Alert rule" onClose={onClose}>
      <div class="row">
        {rules.length > 1 && (
          <label class="line">
            Query
            <select class="field" value={which} onChange={(e) => setWhich(Number(e.currentTarget.value))}>
              {rules.map((r, i) => (
                <option key={r} value={i}>
                  {lines?.find((l) => l.query === i)?.name ?? `${i + 1}`}
                </option>
              ))}
            </select>
          </label>
        )}
        <label class="line">
          Is
          <select class="field" value={op} onChange={(e) => setOp(e.currentTarget.value)}>
            {['>', '>=', '<', '<=', '==', '!='].map((o) => (
              <option key={o}>{o}</option>
            ))}
          </select>
        </label>
        <label class="line">
          Limit
          <input
            class="field"
            inputMode="decimal"
            size={10}
            value={limit}
            onInput={(e) => setLimit(e.currentTarget.value)}
          />
        </label>
        <label class="line">
          For
          <input class="field" size={6} value={hold} onInput={(e) => setHold(e.currentTarget.value)} />
        </label>
        <label class="line">
          Severity
          <select class="field" value={severity} onChange={(e) => setSeverity(e.currentTarget.value)}>
            {['info', 'warning', 'critical'].map((o) => (
              <option key={o}>{o}</option>
            ))}
          </select>
        </label>
      </div>
      {one && (
        <label class="check">
          <input type="checkbox" checked={every} onChange={(e) => setEvery(e.currentTarget.checked)} /> For every
          machine
        </label>
      )}
      <Snippet text={text} />
      <p class="dim">
        Save it in a file listed under <code>rule_files</code> of the configuration, and check the file with{' '}
        <code>clanmon check rules FILE</code>.
      </p>
    </Overlay>
  );
}
