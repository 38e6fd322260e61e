import type { ComponentChildren, ComponentType } from 'preact';
import { useMemo, useRef, useState } from 'preact/hooks';
import { machines } from '../api/clanmon';
import type { Alert } from '../api/types/alerts';
import type { Machine } from '../api/types/machines';
import type { VectorSample } from '../api/types/query';
import { metricNames, quote, vector } from '../api/prom';
import { Ago, Empty, ErrorNote, Loading, Snippet, Time } from '../components/bits';
import { Icon } from '../components/icons';
import { MachineState } from '../components/MachineState';
import { severityLevel, Status } from '../components/Status';
import { useCurrentInView } from '../components/Tabs';
import { combined, split, type Mark } from '../lib/chart';
import { mergeFleet, hasTag, type FleetRow } from '../lib/oldfleet';
import { ago } from '../lib/format';
import { marksOf, marksQuery } from '../lib/machine';
import { score } from '../lib/search';
import { aligned, clock, date, stepFor } from '../lib/time';
import { at, frozen, now, range, setAbsolute, setRelative } from '../state/clock';
import { useData } from '../state/data';
import { allAlerts } from '../state/firing';
import { useKeys } from '../state/keys';
import { go, href, machinePath, param, tagFilter } from '../state/location';
import { isUTC } from '../state/prefs';
import { frame } from '../state/rangeData';
import type { PageProps } from '../routes';
import { AboutContext, type About } from './machine/context';
import { Backends } from './machine/Backends';
import { Disks } from './machine/Disks';
import { Hardware } from './machine/Hardware';
import { Metrics } from './machine/Metrics';
import { Network } from './machine/Network';
import { Overview } from './machine/Overview';
import { Services } from './machine/Services';
import './machine.css';

const TABS: { id: string; title: string; C: ComponentType }[] = [
  { id: '', title: 'Overview', C: Overview },
  { id: 'disks', title: 'Disks', C: Disks },
  { id: 'network', title: 'Network', C: Network },
  { id: 'services', title: 'Services', C: Services },
  { id: 'hardware', title: 'Hardware', C: Hardware },
  { id: 'backends', title: 'Backends', C: Backends },
  { id: 'metrics', title: 'Metrics', C: Metrics },
];

export default function MachinePage({ params }: PageProps) {
  const name = params.machine ?? '';
  return <One key={name} name={name} />;
}

// What is known of the machine itself, besides its figures.
const FACTS =
  'node_boot_time_seconds|node_os_info|node_uname_info|node_exporter_build_info|clanmon_build_info|clanmon_reboot_required|clanmon_nixos_kernel_current|clanmon_nixos_generation|clanmon_nixos_system_activated_timestamp_seconds|clanmon_tailscale_up|clanmon_tailscale_active_peers|clanmon_tailscale_key_expiry_timestamp_seconds|machine:units_failed:count';
const BACKENDS = ['nginx', 'postgres', 'redis'];
const none: VectorSample[] = [];

function One({ name }: { name: string }) {
  const m = `machine=${quote(name)}`;
  const found = useData('machines', machines);
  const machine = found.data?.find((x) => x.machine === name);
  const facts = useData(`facts ${name}`, (s) => vector(`{__name__=~"${FACTS}",${m},job!="clanmon"}`, at.value, s), 60);
  // What the machine said of itself stays, in grey, when it goes away while one
  // looks at it.
  const kept = useRef(none);
  const silent =
    !!facts.data &&
    !facts.data.some((f) => f.metric.__name__ === 'node_uname_info' || f.metric.__name__ === 'node_os_info');
  if (facts.data && !silent) kept.current = facts.data;
  const said = silent && kept.current.length ? kept.current : (facts.data ?? none);
  const r = range.value;
  // Which metrics there were in the range: asked of the index, so that it costs
  // little and also answers for a machine that is gone.
  const rangeKey = r.relative ?? `${r.from} ${r.to}`;
  const known = useData(
    `metrics ${name} ${rangeKey}`,
    (s) => metricNames(`{${m}}`, range.peek().from, range.peek().to, s),
    120,
  );
  const metrics = useMemo(() => known.data && new Set(known.data), [known.data]);
  const marks = useMarks(m);
  const alerts = (allAlerts.value ?? []).filter((a) => a.labels.machine === name);
  const gone = !!found.data && !machine;
  const row = useMemo(
    () => (machine ? mergeFleet([machine], facts.data ?? none, said, none, alerts)[0] : undefined),
    [machine, facts.data, said, allAlerts.value],
  );
  const away = gone || (!!row && row.up === 0);
  const last = useData(away ? `last ${name}` : null, (s) => vector(lastQuery(m), undefined, s), 120);
  const lastSample = last.data?.[0] ? Number(last.data[0].value?.[1]) : undefined;

  const others = (found.data ?? [])
    .filter((x) => hasTag({ tags: x.tags ?? [] }, tagFilter.value) || x.machine === name)
    .map((x) => x.machine)
    .sort(names.compare);
  const here = others.indexOf(name);
  const tab = param('tab');
  const to = (by: number) =>
    others.length > 1 && here >= 0 ? others[(here + by + others.length) % others.length] : undefined;
  const [previous, next] = [to(-1), to(1)];
  const link = (other: string) => href(machinePath(other), { tab });
  useKeys([
    { keys: 'ArrowLeft', what: 'Previous machine', run: () => previous && go(link(previous)) },
    { keys: 'ArrowRight', what: 'Next machine', run: () => next && go(link(next)) },
  ]);

  const jobs = [...new Set((machine?.targets ?? []).map((t) => t.job))];
  const hasBackends =
    jobs.some((j) => BACKENDS.includes(j)) || ['nginx_up', 'pg_up', 'redis_up'].some((x) => metrics?.has(x));
  const about: About = {
    name,
    m,
    machine,
    metrics,
    marks,
    scrape: Math.max(15, ...(machine?.targets ?? []).map((t) => t.interval ?? 0)),
    jobs,
    away,
  };

  const head = (
    <div class="machinehead">
      <div class="pagehead">
        <a
          class="btn icon plain"
          href={previous ? link(previous) : undefined}
          role="link"
          aria-label="Previous machine"
          aria-disabled={!previous}
          title={previous ? `${previous} (←)` : 'No other machine'}
        >
          <Icon name="left" />
        </a>
        <h1 class="wrap">{name}</h1>
        <a
          class="btn icon plain"
          href={next ? link(next) : undefined}
          role="link"
          aria-label="Next machine"
          aria-disabled={!next}
          title={next ? `${next} (→)` : 'No other machine'}
        >
          <Icon name="right" />
        </a>
        {row && <MachineState row={row} badge />}
        {gone && (
          <Status level="off" icon="off" badge>
            {lastSample || metrics?.size ? 'Not discovered any more' : 'Unknown'}
          </Status>
        )}
        {away && lastSample && (
          <span class="status badge warn">
            <Icon name="wait" />
            Last sample <Ago time={lastSample} suffix=" ago" />
          </span>
        )}
        {machine?.availability === 'intermittent' && (
          <span class="chip" title="Not meant to be on all the time: it raises no alert when it is off">
            intermittent
          </span>
        )}
        {(machine?.tags ?? []).map((t) => (
          <a class="chip" key={t} href={href('/', { tag: t })} title={`Machines with tag ${t}`}>
            {t}
          </a>
        ))}
        <span class="grow" />
        {(machine || lastSample) && (
          <a class="btn" href={href('/silences', { new: true, matcher: m })}>
            <Icon name="silence" />
            Silence
          </a>
        )}
      </div>
      {row && <Facts row={row} machine={machine!} facts={said} away={away || (said === kept.current && silent)} />}
      <AlertList alerts={alerts} name={name} />
    </div>
  );

  if (!found.data && found.error)
    return (
      <>
        {head}
        <ErrorNote error={found.error} what="The machines could not be loaded" />
      </>
    );
  if (!found.data)
    return (
      <>
        {head}
        <Loading lines={5} />
      </>
    );
  if (gone && metrics && !metrics.size && (last.data || last.error) && !lastSample)
    return (
      <>
        {head}
        <Unknown name={name} all={found.data} />
      </>
    );

  if (machine && away && last.data && lastSample === undefined)
    return (
      <>
        {head}
        <Never machine={machine} />
      </>
    );

  const shown = TABS.filter((t) => t.id !== 'backends' || hasBackends);
  const current = shown.find((t) => t.id === tab) ?? shown[0]!;
  const { C } = current;
  return (
    <AboutContext.Provider value={about}>
      {head}
      {away && lastSample !== undefined && <Away since={lastSample} gone={gone} row={row} />}
      <PartTabs name={name} current={current.id}>
        {shown.map((t) => (
          <a key={t.id} href={href(machinePath(name), { tab: t.id })} aria-current={t === current ? 'page' : undefined}>
            {t.title}
            {t.id === 'services' && !!row?.unitsFailed && (
              <span class="count warn">
                {row.unitsFailed}
                <span class="sr"> failed</span>
              </span>
            )}
          </a>
        ))}
      </PartTabs>
      <Events marks={marks} />
      {metrics ? (
        <C key={current.id} />
      ) : known.error ? (
        <ErrorNote error={known.error} what="What this machine exports could not be asked" />
      ) : (
        <Loading lines={5} />
      )}
    </AboutContext.Provider>
  );
}

function PartTabs({ name, current, children }: { name: string; current: string; children: ComponentChildren }) {
  const bar = useCurrentInView(current);
  return (
    <nav class="tabs" aria-label={`Parts of ${name}`} ref={bar}>
      {children}
    </nav>
  );
}

const names = new Intl.Collator('en', { numeric: true });

// When an exporter of it last answered: to the minute within a day, to a quarter
// of an hour within a month.
const lastQuery = (m: string) => {
  const answered = `(timestamp(up{${m}}) and up{${m}} == 1)`;
  return `max(max_over_time(${answered}[1d:1m])) or max(max_over_time(${answered}[30d:15m]))`;
};

// Reboots and alerts in the range, drawn into all charts.
function useMarks(m: string): Mark[] {
  const { from, to } = range.value;
  const step = stepFor(to - from);
  const got = useData(`marks ${m} ${range.value.relative ?? `${from} ${to}`}`, (s) => {
    const r = range.peek();
    return frame(combined(marksQuery(m)), { ...aligned(r, step), step }, s);
  });
  return useMemo(() => (got.data ? marksOf(got.data, split) : []), [got.data]);
}

function Facts({
  row,
  machine,
  facts,
  away,
}: {
  row: FleetRow;
  machine: Machine;
  facts: VectorSample[];
  away: boolean;
}) {
  const fact = (name: string, labels: Record<string, string> = {}) =>
    facts.find((f) => f.metric.__name__ === name && Object.entries(labels).every(([k, v]) => f.metric[k] === v));
  const number = (name: string, labels?: Record<string, string>) => {
    const f = fact(name, labels);
    return f ? Number(f.value?.[1]) : undefined;
  };
  const generation = number('clanmon_nixos_generation', { which: 'current' });
  const booted = number('clanmon_nixos_generation', { which: 'booted' });
  const activated = number('clanmon_nixos_system_activated_timestamp_seconds');
  const ts = machine.tailscale;
  const keyExpiry =
    number('clanmon_tailscale_key_expiry_timestamp_seconds') ??
    (ts?.keyExpiry ? Date.parse(ts.keyExpiry) / 1000 : undefined);
  const time = at.value ?? now.value;
  const list: [string, preact.ComponentChildren][] = [];
  if (machine.addresses?.length) list.push(['Address', machine.addresses.join(', ')]);
  if (row.os) list.push(['System', row.os]);
  if (row.kernel) list.push(['Kernel', row.kernel]);
  if (row.booted && !away)
    list.push([
      'Uptime',
      <>
        {ago(time - row.booted)}
        {row.reboot && (
          <>
            {' '}
            <Status level="info" icon="refresh">
              reboot due
            </Status>
          </>
        )}
      </>,
    ]);
  if (generation !== undefined)
    list.push([
      'NixOS',
      <span title={activated ? `Installed ${date(activated, isUTC())}` : undefined}>
        generation {generation}
        {booted !== undefined && booted !== generation && `, booted ${booted}`}
        {activated && <span class="dim">, {ago(time - activated)} old</span>}
      </span>,
    ]);
  if (ts)
    list.push([
      'Tailscale',
      <>
        {ts.direct ? 'direct' : ts.relay ? `by relay ${ts.relay}` : 'not in use'}
        {!ts.online && <span class="dim">, offline says the tailnet</span>}
        {ts.expired ? (
          <>
            {' '}
            <Status level="crit">key expired</Status>
          </>
        ) : keyExpiry && keyExpiry - time < 7 * 86400 ? (
          <>
            {' '}
            <Status level="warn">key expires in {ago(keyExpiry - time)}</Status>
          </>
        ) : null}
      </>,
    ]);
  if (row.exporter) list.push(['Exporter', row.exporter]);
  list.push([
    'Targets',
    <span class="row" style={{ gap: '2px 10px' }}>
      {(machine.targets ?? []).map((t) => (
        <a
          key={`${t.job} ${t.instance}`}
          class={`status ${t.health === 'up' ? 'ok' : t.health === 'down' ? (row.intermittent ? 'off' : 'crit') : 'off'}`}
          href={href('/targets', { q: machine.machine })}
          title={t.lastError || `${t.address}, ${t.health}`}
        >
          <Icon name={t.health === 'up' ? 'ok' : t.health === 'down' ? 'down' : 'wait'} />
          {t.job}
          <span class="sr"> {t.health}</span>
        </a>
      ))}
      {!machine.targets?.length && '–'}
    </span>,
  ]);
  return (
    <dl class={`factline${away ? ' stale' : ''}`}>
      {list.map(([k, v]) => (
        <div key={k}>
          <dt>{k}</dt>
          <dd>{v}</dd>
        </div>
      ))}
    </dl>
  );
}

function AlertList({ alerts, name }: { alerts: Alert[]; name: string }) {
  const shown = alerts
    .filter((a) => a.labels.severity !== 'none')
    .sort((a, b) => order(a) - order(b) || a.startsAt.localeCompare(b.startsAt));
  const [all, setAll] = useState(false);
  if (!shown.length) return null;
  const most = 3;
  return (
    <ul class="alertlist" aria-label="Alerts of this machine">
      {shown.slice(0, all ? undefined : most).map((a) => (
        <li key={a.fingerprint}>
          {a.status.state === 'suppressed' ? (
            <Status level="off" icon="silence">
              {a.status.silencedBy.length ? 'silenced' : 'inhibited'}
            </Status>
          ) : (
            <Status level={severityLevel(a.labels.severity)}>{a.labels.severity ?? 'alert'}</Status>
          )}
          <a class="ellipsis grow" href={href('/alerts', { q: name })} title={a.annotations.description}>
            {a.annotations.summary || a.labels.alertname}
          </a>
          <span class="dim nowrap">
            since <Ago time={Date.parse(a.startsAt) / 1000} />
          </span>
          {a.status.state !== 'suppressed' && (
            <a
              class="btn plain icon"
              href={`${href('/silences', { new: true, matcher: `alertname=${quote(a.labels.alertname ?? '')}` })}&matcher=${encodeURIComponent(`machine=${quote(name)}`)}`}
              aria-label={`Silence ${a.labels.alertname}`}
              title={`Silence ${a.labels.alertname} of ${name}`}
            >
              <Icon name="silence" />
            </a>
          )}
        </li>
      ))}
      {shown.length > most && (
        <li>
          <button type="button" class="btn plain" onClick={() => setAll(!all)}>
            {all ? 'Show fewer' : `Show all ${shown.length} alerts`}
          </button>
        </li>
      )}
    </ul>
  );
}

const order = (a: Alert) =>
  (a.status.state === 'suppressed' ? 10 : 0) + ['critical', 'warning', 'info'].indexOf(a.labels.severity ?? '');

// Events says in words what the marks in the charts mean.
function Events({ marks }: { marks: Mark[] }) {
  const [open, setOpen] = useState(false);
  if (!marks.length) return null;
  const alerts = marks.filter((m) => m.end !== undefined);
  const other = marks.filter((m) => m.end === undefined);
  const text = [
    alerts.length && `${alerts.length} alert${alerts.length === 1 ? '' : 's'}`,
    ...['rebooted', 'system activated'].map((t) => {
      const n = other.filter((m) => m.text === t).length;
      return n && (n === 1 ? t : `${t} ${n} times`);
    }),
  ]
    .filter(Boolean)
    .join(', ');
  return (
    <div class="events">
      <button type="button" class="btn plain" aria-expanded={open} onClick={() => setOpen(!open)}>
        <Icon name={open ? 'down_' : 'right'} />
        In this range: {text}
      </button>
      {open && (
        <ol>
          {marks
            .slice(-40)
            .reverse()
            .map((m) => (
              <li key={`${m.time} ${m.text}`}>
                <Status
                  level={m.level ?? 'info'}
                  icon={m.end === undefined ? 'refresh' : m.level === 'off' ? 'info' : (m.level ?? 'info')}
                >
                  {m.text}
                </Status>
                <span class="dim num nowrap">
                  {m.end === undefined || m.time >= range.value.from ? <Time time={m.time} /> : 'before'}
                  {m.end !== undefined &&
                    (m.end >= range.value.to - 60 && !frozen.value
                      ? ', still firing'
                      : `, for ${ago(m.end - Math.max(m.time, range.value.from))}`)}
                </span>
                <button
                  type="button"
                  class="btn plain"
                  onClick={() =>
                    setAbsolute(m.time - 900, Math.min(Date.now() / 1000, Math.max(m.time + 900, (m.end ?? 0) + 300)))
                  }
                >
                  Zoom in
                </button>
              </li>
            ))}
        </ol>
      )}
    </div>
  );
}

function Away({ since, gone, row }: { since: number; gone: boolean; row: FleetRow | undefined }) {
  const r = range.value;
  const outside = since < r.from;
  return (
    <p class={`note ${row?.state === 'offline' ? '' : 'warn'}`}>
      {gone
        ? 'Discovery does not find this machine any more; these are the figures that were kept.'
        : row?.state === 'offline'
          ? 'This machine is off, as it may be.'
          : `No exporter of this machine answers: ${row?.why ?? ''}.`}{' '}
      The last sample is of {date(since, isUTC())} {clock(since, isUTC(), false)}.
      {outside && (
        <>
          {' '}
          It lies before the range that is shown.{' '}
          <button type="button" class="btn" onClick={() => setAbsolute(since - 3600, since + 300)}>
            Show its last hour
          </button>
        </>
      )}
      {!outside && frozen.value && (
        <>
          {' '}
          <button type="button" class="btn" onClick={() => setRelative('1h')}>
            Show the last hour
          </button>
        </>
      )}
    </p>
  );
}

function Never({ machine }: { machine: Machine }) {
  const t = machine.targets?.[0];
  return (
    <div class="panel">
      <Empty
        icon="wait"
        title="This machine has never answered"
        why={
          (machine.availability === 'intermittent' ? 'It is intermittent and may be off. ' : '') +
          (machine.targets?.map((x) => `${x.job}: ${x.lastError || 'not asked yet'}`).join('; ') ||
            'Nothing of it is scraped.')
        }
      >
        {t && <Snippet text={`curl -sS http://${t.address}/metrics | head`} />}
        {t?.lastScrape && (
          <p class="dim">
            Last asked <Ago time={Date.parse(t.lastScrape) / 1000} suffix=" ago" />
          </p>
        )}
      </Empty>
    </div>
  );
}

function Unknown({ name, all }: { name: string; all: Machine[] }) {
  const like = all
    .map((x) => ({ n: x.machine, s: score(name, x.machine) || score(x.machine, name) }))
    .filter((x) => x.s > 0)
    .sort((a, b) => b.s - a.s)
    .slice(0, 5);
  return (
    <div class="panel">
      <Empty
        icon="search"
        title="There is no machine of this name"
        why="Discovery does not know it, and it has left no sample within the last 30 days nor in the range that is shown. It may have another name, or the link is an old one."
      >
        {like.length > 0 && (
          <p>
            Did you mean{' '}
            {like.map((x, i) => (
              <span key={x.n}>
                {i > 0 && ', '}
                <a href={href(machinePath(x.n))}>{x.n}</a>
              </span>
            ))}
            ?
          </p>
        )}
        <span class="row">
          <a class="btn" href={href('/')}>
            All machines
          </a>
          <a class="btn" href={href('/targets')}>
            Targets and discovery
          </a>
        </span>
      </Empty>
    </div>
  );
}
