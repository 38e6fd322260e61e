// What surrounds an alert: its own chart, what happened before, which alerts came with it,
// and what else moved on its machine.
import { useMemo } from 'preact/hooks';
import { events, moved } from '../../api/events';
import { request } from '../../api/client';
import type { FleetEvent } from '../../api/types/events';
import type { Labels } from '../../api/types/query';
import type { AlertRow } from '../../lib/alerts';
import { type Mark, seriesName } from '../../lib/chart';
import { ALERTS, EVENT, level, whom } from '../../lib/events';
import { ago, format } from '../../lib/format';
import { conditionOf, narrowed, ofAlert, othersOf, siteTags, titleOf, unitOfMetric } from '../../lib/incident';
import { type Node, text } from '../../lib/promql';
import { clock } from '../../lib/time';
import { serverNow } from '../../state/clock';
import { useData } from '../../state/data';
import { useFleet } from '../../state/fleet';
import { href, machinePath } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { ErrorNote, Loading } from '../bits';
import { Chart } from '../Chart';
import { Icon } from '../icons';
import '../../pages/alerts.css';

const BEFORE = 2 * 3600; // seconds that are looked back
const AROUND = 900; // in which other alerts are of the same time

// fired is when the alert fired, began when its condition was first true.
interface About {
  r: AlertRow;
  expr: string;
  fired: number;
  began: number;
}

export function Incident(a: About) {
  return (
    <>
      {a.expr && <OwnChart {...a} />}
      <Before {...a} />
      {a.r.machine && <WhatMoved {...a} />}
      <Others {...a} />
    </>
  );
}

function OwnChart({ r, expr, fired, began }: About) {
  const tree = useData(`parse ${expr}`, (signal) =>
    request<Node>('/api/v1/parse_query', { params: { query: expr }, signal }),
  );
  const drawn = useMemo(() => {
    if (!tree.data) return undefined;
    const own = r.machine ? narrowed(tree.data, 'machine', r.machine) : tree.data;
    return conditionOf(own) ?? { expr: text(own), limit: NaN, above: true };
  }, [tree.data, r.machine]);
  const marks = useMemo(
    (): Mark[] => [
      { time: fired, text: r.state === 'pending' ? 'condition began' : 'fired', level: levelOf(r) },
      ...(fired - began > 60 ? [{ time: began, text: 'condition began', level: 'info' as const }] : []),
    ],
    [fired, began, r],
  );
  if (!drawn) return null;
  const { limit } = drawn;
  return (
    <Chart
      id="alert"
      title="What the rule compares"
      level={3}
      height={150}
      span={{ from: fired - BEFORE, to: Math.min(Math.ceil(serverNow() / 60) * 60, fired + BEFORE) }}
      queries={[{ expr: drawn.expr, name: (l) => (ofAlert(l, r.labels) ? nameOf(l, r) : null) }]}
      marks={marks}
      {...(!Number.isNaN(limit) && {
        thresholds: [
          {
            value: limit,
            label: drawn.above ? 'fires above' : 'fires below',
            kind: levelOf(r) === 'crit' ? ('crit' as const) : ('warn' as const),
          },
        ],
        max: limit,
        min: Math.min(0, limit),
      })}
      empty={{ title: 'The rule compares nothing that is stored' }}
    />
  );
}

// nameOf leaves out what all series of the machine have.
function nameOf(labels: Labels, r: AlertRow): string {
  const own = Object.entries(labels).filter(
    ([k]) => !['machine', 'instance', 'job', 'availability', 'tags'].includes(k),
  );
  return own.length ? seriesName(Object.fromEntries(own)) : r.where || 'value';
}

const levelOf = (r: AlertRow) => (r.severity === 'critical' ? 'crit' : r.severity === 'info' ? 'info' : 'warn');

// Before are the changes of the machine in the two hours before.
function Before({ r, fired, began }: About) {
  const [from, to] = [Math.floor(began - BEFORE), Math.ceil(fired)];
  const got = useData(r.machine ? `incident before ${r.machine} ${from} ${to}` : null, (s) =>
    events(from, to, { machine: r.machine }, s),
  );
  if (!r.machine) return null;
  const rows = (got.data?.events ?? []).filter((e) => !(e.alert === r.name && e.time >= began - 60));
  return (
    <section class="stack" aria-label="Two hours before">
      <div class="row">
        <h3 class="grow">Two hours before</h3>
        <a href={href('/changes', { from, to: Math.ceil(fired + 600), q: r.machine })}>All changes</a>
      </div>
      <ErrorNote error={got.error} what="The changes could not be loaded" />
      {!got.data && !got.error && <Loading lines={2} />}
      {got.data && !rows.length && <p class="dim">Nothing changed on {r.machine}.</p>}
      {rows.length > 0 && (
        <ol class="happened">
          {rows.slice(0, 10).map((e) => (
            <Happened key={`${e.time} ${e.kind} ${e.text}`} e={e} at={fired} />
          ))}
        </ol>
      )}
      {rows.length > 10 && <p class="dim">and {rows.length - 10} more</p>}
    </section>
  );
}

// Happened is an event, and how long before or after the alert it was.
function Happened({ e, at, who }: { e: FleetEvent; at: number; who?: boolean }) {
  const before = at - e.time;
  return (
    <li>
      <span class="dim nowrap" title={clock(e.time, isUTC())}>
        {Math.abs(before) < 60 ? 'then' : `${ago(Math.abs(before))} ${before > 0 ? 'before' : 'after'}`}
      </span>
      <span class={`status quiet ${level(e)}`}>
        <Icon name={EVENT[e.kind].icon} />
        <span class="intext">
          {who && e.machine && <a href={href(machinePath(e.machine))}>{e.machine}</a>}
          {who && !e.machine && whom(e)} {e.text}
          {(e.by || e.detail) && <span class="dim"> {[e.by, e.detail].filter(Boolean).join(': ')}</span>}
        </span>
      </span>
    </li>
  );
}

// Others are the alerts of that time which have something in common with this one.
function Others({ r, fired, began }: About) {
  const [from, to] = [Math.floor(began - AROUND), Math.ceil(Math.min(serverNow(), fired + AROUND))];
  const got = useData(`incident around ${from} ${Math.floor(to / 60)}`, (s) =>
    events(from, to, { overlapping: true, kinds: ALERTS }, s),
  );
  const { rows: fleet } = useFleet();
  const tagged = useMemo(() => siteTags(r.machine, fleet ?? []), [r.machine, fleet]);
  const o = useMemo(() => othersOf(got.data?.events ?? [], r, tagged), [got.data, r, tagged]);
  const lists: [string, FleetEvent[], boolean][] = [
    [`Also on ${r.machine}`, r.machine ? o.machine : [], false],
    [`${r.name} elsewhere`, o.rule, true],
    ...o.tags.map((t): [string, FleetEvent[], boolean] => [`Other machines of ${t.tag}`, t.events, true]),
  ];
  const some = lists.filter(([, list]) => list.length);
  return (
    <section class="stack" aria-label="Other alerts at that time">
      <h3>Other alerts at that time</h3>
      <ErrorNote error={got.error} what="The alerts could not be loaded" />
      {!got.data && !got.error && <Loading lines={1} />}
      {got.data && !some.length && <p class="dim">None on this machine, of its tags, or of this rule.</p>}
      {some.map(([title, list, named]) => (
        <div class="alike" key={title}>
          <h4 class="dim">{title}</h4>
          <ol class="happened">
            {list.slice(0, 5).map((e) => (
              <Happened key={`${e.time} ${e.machine} ${e.text}`} e={e} at={fired} who={named} />
            ))}
          </ol>
          {list.length > 5 && <p class="dim">and {list.length - 5} more</p>}
        </div>
      ))}
    </section>
  );
}

// WhatMoved are the metrics that were unlike the hours before.
function WhatMoved({ r, fired, began }: About) {
  const at = Math.ceil(Math.min(serverNow(), Math.max(fired, began + 300)));
  const got = useData(`moved ${r.machine} ${fired}`, (s) => moved(r.machine, at, s), 600);
  const around = { from: Math.floor(at - BEFORE), to: Math.ceil(Math.min(serverNow(), at + 1800)) };
  return (
    <section class="stack" aria-label="What else moved">
      <h3>What else moved</h3>
      <ErrorNote error={got.error} what="The metrics could not be compared" />
      {!got.data && !got.error && <Loading lines={4} />}
      {got.data && !got.data.moved.length && (
        <p class="dim">
          {got.data.series
            ? `None of ${got.data.series} series was unlike the two hours before.`
            : 'There are no series of that time to compare.'}
        </p>
      )}
      {got.data && got.data.moved.length > 0 && (
        <ol class="moved">
          {got.data.moved.map((m) => {
            const unit = unitOfMetric(m.metric, m.rate);
            return (
              <li key={m.metric}>
                <a
                  class="ellipsis"
                  title={m.expr}
                  href={href('/explore', { 'g0.expr': m.expr, 'g0.tab': '0', ...around })}
                >
                  {titleOf(m)}
                </a>
                <span class="num nowrap">
                  <b>{format(m.is, unit)}</b>
                  <span class="dim">
                    , usually {format(m.was, unit)}
                    {m.more > 0 && `; ${m.more} more like it`}
                  </span>
                </span>
              </li>
            );
          })}
        </ol>
      )}
      {got.data && (
        <p class="dim">
          {got.data.partial
            ? `Incomplete: ${got.data.partial}.`
            : 'The half hour before it fired, compared with the four half hours before that.'}
        </p>
      )}
    </section>
  );
}
