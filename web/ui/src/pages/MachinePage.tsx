import type { ComponentChildren, ComponentType } from 'preact';
import { useMemo, useState } from 'preact/hooks';
import { discovery, machine as fetchMachine } from '../api/clanmon';
import { request } from '../api/client';
import { jobs as fetchJobs } from '../api/jobs';
import type { Alert } from '../api/types/alerts';
import type { Job } from '../api/types/jobs';
import type { FleetRow, Machine } from '../api/types/machines';
import type { VectorSample } from '../api/types/query';
import type { RuntimeInfo } from '../api/types/status';
import { metricNames, quote, vector } from '../api/prom';
import { Backups } from '../components/Backups';
import { Ago, Empty, ErrorNote, Loading, Snippet, Time } from '../components/bits';
import { Filling } from '../components/Filling';
import { PeerSays } from '../components/Pair';
import { ForgetMachine } from '../components/Forget';
import { Icon } from '../components/icons';
import { MachineState } from '../components/MachineState';
import { Marks } from '../components/Marks';
import { SilenceTrace } from '../components/SilenceTrace';
import { severityLevel, Status } from '../components/Status';
import { useCurrentInView } from '../components/Tabs';
import { lookUp } from '../lib/discovery';
import { shortError } from '../lib/errors';
import { hasTag, whyOf } from '../lib/fleet';
import { ago } from '../lib/format';
import { byMachine } from '../lib/jobs';
import { firstQuery, lastQuery, retentionOf, sinceOf, type Since } from '../lib/machine';
import { inProcess, placeOf } from '../lib/place';
import { score } from '../lib/search';
import { machineFinder, selectorOf } from '../lib/selector';
import { clock, date } from '../lib/time';
import { MACHINE, NOT_SCRAPED, REBOOT } from '../lib/words';
import { at, frozen, now, range, second, setAbsolute, setRelative } from '../state/clock';
import { useData } from '../state/data';
import { allAlerts } from '../state/firing';
import { useElsewhere } from '../state/elsewhere';
import { useFleet, useImpatience } from '../state/fleet';
import { useKeys } from '../state/keys';
import { go, href, machinePath, param, tagFilter } from '../state/location';
import { phone } from '../state/media';
import { compareHref } from '../state/picked';
import { isUTC } from '../state/prefs';
import { useSwipe } from '../state/swipe';
import type { PageProps } from '../routes';
import { AboutContext, type About } from './machine/context';
import { Backends } from './machine/Backends';
import { Changes } from './machine/Changes';
import { Disks } from './machine/Disks';
import { Elsewhere } from './machine/Elsewhere';
import { Hardware } from './machine/Hardware';
import { Journal } from './machine/Journal';
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
  { id: 'changes', title: 'Changes', C: Changes },
  { id: 'journal', title: 'Journal', C: Journal },
  { id: 'metrics', title: 'Metrics', C: Metrics },
];

export default function MachinePage({ params }: PageProps) {
  const name = params.machine ?? '';
  return name.includes('@') ? <HereOrElsewhere key={name} name={name} /> : <One key={name} name={name} />;
}

// A machine of this server that has such a name comes before one of another server.
function HereOrElsewhere({ name }: { name: string }) {
  const fleet = useFleet();
  const { rows, known, error, warnings, time } = useElsewhere();
  const own = fleet.rows?.some((r) => r.name === name);
  const row = rows.find((r) => r.name === name);
  if (!own && row) return <Elsewhere row={row} warnings={warnings} time={time} />;
  if (!own && !known && !error) return <Loading lines={5} />;
  return (
    <>
      {!own &&
        warnings.map((w) => (
          <p class="note warn" key={w}>
            Machines elsewhere: {w}
          </p>
        ))}
      <One name={name} />
    </>
  );
}

// What the server does not say of a machine itself.
const FACTS =
  'clanmon_nixos_generation|clanmon_nixos_system_activated_timestamp_seconds|clanmon_tailscale_key_expiry_timestamp_seconds';
const BACKENDS = ['nginx', 'postgres', 'redis'];
const none: VectorSample[] = [];

function One({ name }: { name: string }) {
  const fleet = useFleet();
  const row = fleet.rows?.find((r) => r.name === name);
  const asked = useData(`machine ${name}`, (s) => fetchMachine(name, s));
  const machine = asked.data ?? undefined;
  const loaded = asked.data !== undefined;
  const gone = asked.data === null;
  const state = machine?.state ?? row?.state;
  const away = gone || state === 'down' || state === 'offline';
  const own = selectorOf(machine ?? row, name);
  const last = useData(gone ? `last ${name}` : null, (s) => vector(lastQuery(own), undefined, s), 120);
  const seen = gone
    ? last.data?.[0] && Number(last.data[0].value?.[1])
    : machine?.lastSeen && Date.parse(machine.lastSeen) / 1000;
  const lastSample = seen || undefined;
  // What a machine said of itself stays when it goes away: its tables are of the
  // time when it was last seen.
  const when = at.value ?? (away && lastSample ? Math.ceil(lastSample) : undefined);

  const labelled = useNames(loaded ? own : null);
  const before = useNames(machine?.earlier || null);
  // Of the time before its series had the label machine there may be others.
  const older = before.data?.length ? machine!.earlier! : '';
  const m = older && labelled.data && !labelled.data.length ? older : own;
  const metrics = useMemo(
    () =>
      labelled.data && (before.data || before.error || !machine?.earlier)
        ? new Set([...labelled.data, ...(before.data ?? [])])
        : undefined,
    [labelled.data, before.data, before.error, machine?.earlier],
  );
  const facts = useData(
    loaded ? `facts ${m} ${when ?? ''}` : null,
    (s) => vector(`{__name__=~"${FACTS}",${m},job!="clanmon"}`, when, s),
    60,
  );
  const saved = useData(
    loaded && !gone ? `backups ${name}` : null,
    (s) => fetchJobs({ machine: name, backups: true }, s),
    60,
  );
  useImpatience(!gone);
  const alerts = useMemo(() => {
    const of = machineFinder(row ? [row] : []);
    return (allAlerts.value ?? []).filter((a) => of(a.labels) === name);
  }, [allAlerts.value, row?.selector, name]);

  const others = (fleet.rows ?? []).filter((x) => hasTag(x, tagFilter.value) || x.name === name).map((x) => x.name);
  const here = others.indexOf(name);
  const tab = param('tab');
  const to = (by: number) =>
    others.length > 1 && here >= 0 ? others[(here + by + others.length) % others.length] : undefined;
  const [previous, next] = [to(-1), to(1)];
  const link = (other: string) => href(machinePath(other), { tab });
  // A phone has room for a chart or for what there is to say, and the chart comes first.
  const [listed, setFacts] = useState(false);
  const brief = phone.value && !listed && !away;
  useSwipe((direction) => {
    const other = direction > 0 ? next : previous;
    if (other) go(link(other));
  });
  useKeys([
    { keys: 'ArrowLeft', what: 'Previous machine', run: () => previous && go(link(previous)) },
    { keys: 'ArrowRight', what: 'Next machine', run: () => next && go(link(next)) },
  ]);

  const targets = machine?.targets ?? [];
  const jobs = [...new Set(targets.map((t) => t.job))];
  const hasBackends =
    jobs.some((j) => BACKENDS.includes(j)) || ['nginx_up', 'pg_up', 'redis_up'].some((x) => metrics?.has(x));
  const about: About = {
    name,
    m,
    earlier: m === own ? older : '',
    when,
    machine,
    metrics,
    scrape: Math.max(15, ...targets.map((t) => t.interval ?? 0)),
    jobs,
    away,
  };
  const shownState = machine ?? row;
  const fed = targets.length > 0 && targets.every((t) => t.method === 'stored');
  const heard = targets.filter((t) => t.method === 'push').map((t) => Date.parse(t.lastScrape ?? '') / 1000);

  const tags = shownState?.tags?.map((t) => (
    <a class="chip" key={t} href={href('/', { tag: t })} title={`Machines with tag ${t}`}>
      {t}
    </a>
  ));
  const how =
    heard.length > 0 ? (
      <Status level="off" icon="info" badge>
        pushes, heard <Ago time={Math.max(...heard)} suffix=" ago" />
      </Status>
    ) : (
      fed &&
      !away &&
      lastSample && (
        <Status level="off" icon="info" badge>
          fed by remote write or federation, last sample <Ago time={lastSample} suffix=" ago" />
        </Status>
      )
    );
  const head = (
    <div class="machinehead">
      <div class="pagehead">
        <a
          class="btn icon plain"
          href={previous ? link(previous) : undefined}
          role="link"
          aria-label="Previous machine"
          aria-disabled={!previous}
          title={previous ? `${previous} (←)` : 'No other machines'}
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
          title={next ? `${next} (→)` : 'No other machines'}
        >
          <Icon name="right" />
        </a>
        {shownState && <MachineState row={shownState} badge />}
        {gone && (
          <Status level="off" icon="off" badge>
            {lastSample || metrics?.size ? 'No longer discovered' : 'Unknown'}
          </Status>
        )}
        {!phone.value && away && lastSample && (
          <span class="status badge warn">
            <Icon name="wait" />
            Last sample <Ago time={lastSample} suffix=" ago" />
          </span>
        )}
        {!phone.value && how}
        {(machine ? machine.availability === 'intermittent' : row?.intermittent) && (
          <span class="chip" title="May be off at any time without an alert">
            intermittent
          </span>
        )}
        {!phone.value && tags}
        <span class="grow" />
        {phone.value && machine && (
          <button type="button" class="btn plain" aria-expanded={!brief} onClick={() => setFacts(brief)}>
            Facts
            <Icon name={brief ? 'right' : 'down_'} />
          </button>
        )}
        {!phone.value && row && (
          <a class="btn" href={compareHref([name])} title="Compare with other machines">
            Compare
          </a>
        )}
        {(machine || row || lastSample) && (
          <a
            class={`btn${phone.value ? ' icon' : ''}`}
            href={href('/silences', { new: true, matcher: own.startsWith('machine=') ? own : null })}
            aria-label="Silence"
          >
            <Icon name="silence" />
            {!phone.value && 'Silence'}
          </a>
        )}
      </div>
      {phone.value && how && <div class="row">{how}</div>}
      {phone.value && !brief && tags && <div class="row">{tags}</div>}
      {shownState && !brief && <Said of={shownState} alerts={alerts} name={name} />}
      {machine && !brief && (
        <Facts machine={machine} facts={facts.data ?? none} backups={saved.data ?? []} away={away} seen={lastSample} />
      )}
      <SilenceTrace list={shownState?.silenced} />
      {machine?.warnings?.map((w) => (
        <p class="note warn" key={w.text}>
          {w.text}
          {w.at && (
            <span class="dim">
              {' '}
              <Time time={Date.parse(w.at) / 1000} />
            </span>
          )}{' '}
          {w.machine && w.machine !== name && <a href={href(machinePath(w.machine))}>{w.machine}</a>}
        </p>
      ))}
      <AlertList
        alerts={alerts}
        name={name}
        muted={machine?.muted ?? []}
        since={(a) => sinceOf(a, machine ?? row, fleet.started)}
      />
    </div>
  );

  if (!loaded && asked.error)
    return (
      <>
        {head}
        <ErrorNote error={asked.error} what="The machine could not be loaded" />
      </>
    );
  if (!loaded)
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
        <Unknown name={name} all={fleet.rows ?? []} />
      </>
    );
  // What the server says of its scrapes, and what rules make of that, is none of
  // the machine's own.
  const silent = !!metrics && ![...metrics].some((x) => !/^(up|scrape_.*|ALERTS.*|clanmon_machine_.*|.*:.*)$/.test(x));
  if (machine && !lastSample && silent && !fed)
    return (
      <>
        {head}
        <Never machine={machine} started={fleet.started} />
      </>
    );

  const shown = TABS.filter((t) => t.id !== 'backends' || hasBackends);
  const current = shown.find((t) => t.id === tab) ?? shown[0]!;
  const { C } = current;
  return (
    <AboutContext.Provider value={about}>
      {head}
      {away && lastSample !== undefined && <Away seen={lastSample} gone={gone} machine={machine} />}
      {row && <PeerSays machine={name} own={row.state} />}
      <Filling machine={name} />
      <Range metrics={metrics} m={own} older={older} />
      <PartTabs name={name} current={current.id}>
        {shown.map((t) => (
          <a key={t.id} href={href(machinePath(name), { tab: t.id })} aria-current={t === current ? 'page' : undefined}>
            {t.title}
            {t.id === 'services' && !away && !!row?.unitsFailed && (
              <span class="count warn">
                {row.unitsFailed}
                <span class="sr"> failed</span>
              </span>
            )}
          </a>
        ))}
      </PartTabs>
      <Marks machine={name} wanted={current.id !== 'changes'}>
        {metrics ? (
          <C key={current.id} />
        ) : labelled.error ? (
          <ErrorNote error={labelled.error} what="The metrics could not be loaded" />
        ) : (
          <Loading lines={5} />
        )}
      </Marks>
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

// Which metrics a machine had in the range: asked of the index, so that it costs
// little and also answers for a machine that is gone.
function useNames(match: string | null) {
  const r = range.value;
  return useData(
    match && `metrics ${match} ${r.relative ?? `${r.from} ${r.to}`}`,
    (s) => metricNames(`{${match}}`, range.peek().from, range.peek().to, s),
    120,
  );
}

// Said is what the server says of the machine, where no alert in the list says it.
function Said({ of, alerts, name }: { of: Machine | FleetRow; alerts: Alert[]; name: string }) {
  const listed = alerts.some((a) => a.status.state !== 'suppressed' && a.labels.severity !== 'none');
  const why = listed && !of.checking && of.state !== 'down' ? '' : whyOf(of);
  const timed = of.since && of.state !== 'ok' && of.state !== 'unjudged' && of.state !== 'waiting';
  if (!why && !timed && !of.pending) return null;
  return (
    <p class="row dim">
      {timed && (
        <span class="nowrap">
          {MACHINE[of.state].toLowerCase()} for <Ago time={Date.parse(of.since!) / 1000} />
        </span>
      )}
      {why && <span class="wrap">{why}</span>}
      {!!of.pending && (
        <a href={href('/alerts', { tab: 'pending', q: name })}>
          {of.pending} {of.pending === 1 ? 'alert' : 'alerts'} pending
        </a>
      )}
    </p>
  );
}

function Facts({
  machine,
  facts,
  backups,
  away,
  seen,
}: {
  machine: Machine;
  facts: VectorSample[];
  backups: Job[];
  away: boolean;
  seen: number | undefined;
}) {
  const number = (name: string, labels: Record<string, string> = {}) => {
    const f = facts.find(
      (x) => x.metric.__name__ === name && Object.entries(labels).every(([k, v]) => x.metric[k] === v),
    );
    return f ? Number(f.value?.[1]) : undefined;
  };
  const f = machine.facts ?? {};
  const generation = number('clanmon_nixos_generation', { which: 'current' }) ?? f.generation;
  const booted = number('clanmon_nixos_generation', { which: 'booted' });
  const activated = number('clanmon_nixos_system_activated_timestamp_seconds');
  const ts = machine.tailscale;
  const keyExpiry =
    number('clanmon_tailscale_key_expiry_timestamp_seconds') ??
    (ts?.keyExpiry ? Date.parse(ts.keyExpiry) / 1000 : undefined);
  const time = at.value ?? now.value;
  const list: [string, preact.ComponentChildren][] = [];
  const os = f.os ?? machine.os;
  if (machine.addresses?.length) list.push(['Address', machine.addresses.join(', ')]);
  if (os) list.push(['System', os]);
  if (f.kernel) list.push(['Kernel', f.kernel]);
  if (f.booted && (!away || (seen ?? 0) > f.booted))
    list.push([
      'Uptime',
      <>
        {ago((away ? seen! : time) - f.booted)}
        {away && <span class="dim">, when last seen</span>}
        {f.reboot && (
          <>
            {' '}
            <Status level="info" icon="refresh">
              {REBOOT}
            </Status>
          </>
        )}
      </>,
    ]);
  if (generation !== undefined)
    list.push([
      'NixOS',
      <span title={activated ? `Activated ${date(activated, isUTC())}` : undefined}>
        generation {generation}
        {booted !== undefined && booted !== generation && `, booted ${booted}`}
        {activated && <span class="dim">, {ago(time - activated)} old</span>}
      </span>,
    ]);
  if (ts)
    list.push([
      'Tailscale',
      <>
        {ts.direct ? 'direct' : ts.relay ? `relayed by ${ts.relay}` : 'not in use'}
        {!ts.online && <span class="dim">, offline in the tailnet</span>}
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
  const saved = byMachine(backups).get(machine.machine);
  if (saved) list.push(['Backups', <Backups list={saved} />]);
  if (f.exporter) list.push(['Exporter', f.exporter]);
  const targets = machine.targets ?? [];
  if (targets.length)
    list.push([
      'Targets',
      <span class="row" style={{ gap: '2px 10px' }}>
        {targets.map((t) => (
          <a
            key={`${t.job} ${t.instance}`}
            class={`status ${t.health === 'up' ? 'ok' : t.health === 'down' && machine.availability !== 'intermittent' ? 'crit' : 'off'}`}
            href={href('/targets', { q: machine.machine })}
            title={t.lastError || `${placeOf(t.address)}, ${t.health}`}
          >
            <Icon name={t.health === 'up' ? 'ok' : t.health === 'down' ? 'down' : 'wait'} />
            {t.job}
            <span class="sr"> {t.health}</span>
          </a>
        ))}
      </span>,
    ]);
  const as = f.at ? Date.parse(f.at) / 1000 : seen;
  if (away && as)
    list.push([
      'As of',
      <span class="nowrap">
        <Ago time={as} suffix=" ago" />
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

// mutedText says by what an alert is muted.
function mutedText(a: Alert, muted: NonNullable<Machine['muted']>): string {
  const m = muted.find((x) => x.alert === a.labels.alertname);
  if (a.status.silencedBy.length) return 'silenced';
  if (m?.by === 'inhibition' || a.status.inhibitedBy.length)
    return m?.by === 'inhibition' && m.what ? `inhibited by ${m.what}` : 'inhibited';
  return m?.what ? `muted by ${m.what}` : 'muted';
}

function AlertList({
  alerts,
  name,
  muted,
  since,
}: {
  alerts: Alert[];
  name: string;
  muted: NonNullable<Machine['muted']>;
  since: (a: Alert) => Since;
}) {
  const timed = new Set(muted.filter((m) => m.by === 'time').map((m) => m.alert));
  const quiet = (a: Alert) => a.status.state === 'suppressed' || timed.has(a.labels.alertname ?? '');
  const rank = (a: Alert) => (quiet(a) ? 10 : 0) + ['critical', 'warning', 'info'].indexOf(a.labels.severity ?? '');
  const shown = alerts
    .filter((a) => a.labels.severity !== 'none')
    .sort((a, b) => rank(a) - rank(b) || a.startsAt.localeCompare(b.startsAt));
  const [all, setAll] = useState(false);
  if (!shown.length) return null;
  const most = phone.value ? 1 : 3;
  return (
    <ul class="alertlist" aria-label="Alerts of this machine">
      {shown.slice(0, all ? undefined : most).map((a) => (
        <li key={a.fingerprint}>
          {quiet(a) ? (
            <Status level="off" icon="silence">
              {mutedText(a, muted)}
            </Status>
          ) : (
            <Status level={severityLevel(a.labels.severity)}>{a.labels.severity ?? 'alert'}</Status>
          )}
          <a class="ellipsis grow" href={href('/alerts', { q: name })} title={a.annotations.description}>
            {a.annotations.summary || a.labels.alertname}
          </a>
          <Age of={since(a)} />
          {!quiet(a) && (
            <a
              class="btn plain icon"
              href={`${href('/silences', { new: true, matcher: `alertname=${quote(a.labels.alertname ?? '')}` })}${a.labels.machine ? `&matcher=${encodeURIComponent(`machine=${quote(name)}`)}` : ''}`}
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

function Age({ of: { time, restarted } }: { of: Since }) {
  return (
    <span class="dim nowrap" title={restarted ? 'Was firing before the server restarted' : undefined}>
      for <Ago time={time} />
      {restarted && ' or more'}
    </span>
  );
}

function Away({ seen, gone, machine }: { seen: number; gone: boolean; machine: Machine | undefined }) {
  const r = range.value;
  const outside = seen < r.from;
  const off = machine?.state === 'offline';
  return (
    <p class={`note row ${off ? '' : 'warn'}`}>
      <span class="grow">
        {gone
          ? 'This machine is no longer discovered. Showing stored data.'
          : off
            ? 'This machine is intermittent and off.'
            : 'This machine is down. Showing its last known data.'}{' '}
        Last sample: {date(seen, isUTC())} {clock(seen, isUTC(), false)}.
        {outside && ' That is before the selected range.'}
      </span>
      {outside && (
        <button type="button" class="btn" onClick={() => setAbsolute(seen - 3600, seen + 300)}>
          Show its last hour
        </button>
      )}
      {!outside && frozen.value && (
        <button type="button" class="btn" onClick={() => setRelative('1h')}>
          Show the last hour
        </button>
      )}
      {machine && <ForgetMachine machine={machine} />}
    </p>
  );
}

// Range names what a range lacks: what is older than the retention, or than the
// machine itself.
function Range({ metrics, m, older }: { metrics: ReadonlySet<string> | undefined; m: string; older: string }) {
  const r = range.value;
  const empty = !!metrics && !metrics.size;
  const runtime = useData('runtime', (s) => request<RuntimeInfo>('/api/v1/status/runtimeinfo', { signal: s }), 600);
  const first = useData(empty ? `first ${m}` : null, (s) => vector(firstQuery(m), undefined, s), 600);
  const retention = retentionOf(runtime.data?.storageRetention);
  const kept = retention ? now.value - retention.seconds : 0;
  const begun = first.data?.[0] ? Number(first.data[0].value?.[1]) : 0;
  const lines = [
    kept > r.from && `No data before ${date(kept, isUTC())} (retention ${retention!.text}).`,
    begun > r.to &&
      `The first sample of this machine is from ${date(begun, isUTC())} ${clock(begun, isUTC(), false)}, after the selected range.`,
    older &&
      'For the part of this range before the machine had the label “machine”, series are selected by its address.',
  ].filter(Boolean);
  if (!lines.length) return null;
  return <p class="note">{lines.join(' ')}</p>;
}

function Never({ machine, started }: { machine: Machine; started: number }) {
  const targets = machine.targets ?? [];
  const t = targets.find((x) => x.health === 'down') ?? targets[0];
  const asked = targets.some((x) => x.health !== 'unknown');
  const young = !!started && second.value - started < 300;
  const unnamed = targets.some((x) => /no such host/.test(x.lastError ?? ''));
  return (
    <div class="panel">
      <Empty
        icon="wait"
        title={
          asked
            ? young
              ? 'No response since the server started'
              : 'No samples of this machine are stored'
            : 'Not scraped yet'
        }
        why={
          (machine.availability === 'intermittent' ? 'It is intermittent and may be off. ' : '') +
          (targets.map((x) => `${x.job}: ${shortError(x.lastError) || NOT_SCRAPED}`).join('; ') || 'No targets.')
        }
      >
        {t && asked && !inProcess(t.address) && (
          <Snippet
            text={
              unnamed ? `getent hosts ${t.address.replace(/:\d+$/, '')}` : `curl -sS http://${t.address}/metrics | head`
            }
          />
        )}
        {t?.lastScrape && (
          <p class="dim">
            Last scrape <Ago time={Date.parse(t.lastScrape) / 1000} suffix=" ago" />
          </p>
        )}
        {asked && <ForgetMachine machine={machine} />}
      </Empty>
    </div>
  );
}

function Unknown({ name, all }: { name: string; all: FleetRow[] }) {
  const disco = useData('discovery', discovery, 60);
  const found = lookUp(disco.data, name);
  const like = all
    .map((x) => ({ n: x.name, s: score(name, x.name) || score(x.name, name) }))
    .filter((x) => x.s > 0)
    .sort((a, b) => b.s - a.s)
    .slice(0, 5);
  return (
    <div class="panel">
      <Empty
        icon="search"
        title={found.length ? 'Not scraped' : 'No machine with this name'}
        why={
          found.length
            ? found.map((f) => `${f.name}: ${f.why}`).join('; ')
            : 'No target, discovery method or stored sample of the last 30 days has this name. The machine may have been renamed.'
        }
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
          <a class="btn" href={href('/targets', { tab: 'discovery' })}>
            Targets and discovery
          </a>
        </span>
      </Empty>
    </div>
  );
}
