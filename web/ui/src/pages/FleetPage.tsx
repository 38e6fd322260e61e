import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { discovery, machines } from '../api/clanmon';
import { anyOf, queryRange, quote, vector } from '../api/prom';
import type { Discovery } from '../api/types/machines';
import { Empty, ErrorNote, Loading, Menu, Overlay, Snippet } from '../components/bits';
import { FirstSteps } from '../components/FirstSteps';
import { Icon } from '../components/icons';
import { LOOK } from '../components/MachineState';
import { Meter } from '../components/Meter';
import { Spark } from '../components/Spark';
import { Status, type Level } from '../components/Status';
import { Table, type Column } from '../components/Table';
import { fallbackQuery, factsQuery, hasTag, matches, mergeFleet, recordsQuery, shows, STATES, type FleetRow } from '../lib/fleet';
import { ago, format } from '../lib/format';
import { RangeCache } from '../lib/rangeCache';
import { at, frozen, now, second, tick } from '../state/clock';
import { useData } from '../state/data';
import { allAlerts, alertsTime } from '../state/firing';
import { href, machinePath, param, setParams, tagFilter } from '../state/location';
import { phone } from '../state/media';
import { interval, recall, remember } from '../state/prefs';
import './fleet.css';

const SMALL = 50; // machines up to which the fallback is worth its cost

export default function FleetPage() {
  const found = useData('machines', machines);
  const records = useData('fleet records', (s) => vector(recordsQuery, at.value, s));
  const facts = useData('fleet facts', (s) => vector(factsQuery, at.value, s), 120);
  const disco = useData('discovery', discovery, 60);
  const incomplete = !!records.data && !!found.data && found.data.length > 0 && found.data.length <= SMALL
    && found.data.some((m) => m.targets?.some((t) => t.job === 'node' && t.health === 'up') && !records.data!.some((r) => r.metric.machine === m.machine));
  const fallback = useData(incomplete ? 'fleet fallback' : null, (s) => vector(fallbackQuery, at.value, s));

  const all = useMemo(
    () => mergeFleet(found.data ?? [], records.data ?? [], facts.data ?? [], incomplete ? fallback.data ?? [] : [], allAlerts.value ?? []),
    [found.data, records.data, facts.data, fallback.data, incomplete, allAlerts.value],
  );
  const tag = tagFilter.value;
  const show = param('show');
  const text = param('q');
  const rows = useMemo(() => all.filter((r) => hasTag(r, tag) && shows(r, show) && (!text || matches(r, text))), [all, tag, show, text]);
  const tags = useMemo(() => [...new Set(all.flatMap((r) => r.tags))].sort(), [all]);
  const group = param('group');
  const sparks = useSparks();
  const [hidden, setHidden] = useState<string[]>(() => recall('fleet.hidden', DEFAULT_HIDDEN));
  const columns = useMemo(() => fleetColumns(sparks.data), [sparks.data]);
  const shownColumns = columns.filter((c) => !hidden.includes(c.id));
  const silent = (disco.data?.waiting?.length ?? 0) + (disco.data?.leftOut?.length ?? 0);

  if (!found.data && found.error) return <><PageHead /><ErrorNote error={found.error} what="The machines could not be loaded" /></>;
  if (!found.data) return <><PageHead /><Loading lines={5} /></>;

  return (
    <>
      <PageHead>
        <input class="field" type="search" aria-label="Filter machines" placeholder="Filter: name, tag, system" value={text} onInput={(e) => setParams({ q: e.currentTarget.value })} />
        {tags.length > 0 && <TagMenu tags={tags} all={all} />}
        {tags.length > 0 && <button type="button" class="btn" aria-pressed={group === 'tag'} onClick={() => setParams({ group: group === 'tag' ? null : 'tag' })}>Group by tag</button>}
        {!phone.value && <Menu icon="columns" title="Columns">
          {() => columns.filter((c) => c.id !== 'state' && c.id !== 'name').map((c) => (
            <button type="button" key={c.id} role="menuitemcheckbox" aria-checked={!hidden.includes(c.id)} onClick={() => {
              const h = hidden.includes(c.id) ? hidden.filter((x) => x !== c.id) : [...hidden, c.id];
              setHidden(h);
              remember('fleet.hidden', h);
            }}><span style={{ width: '16px' }}>{!hidden.includes(c.id) && <Icon name="ok" />}</span>{c.title}</button>
          ))}
        </Menu>}
      </PageHead>
      <FirstSteps found={found.data} discovery={disco.data} seen={!!records.data?.length || !!fallback.data?.length} />
      <Problems all={all} silent={silent} time={Math.min(found.time, alertsTime.value || found.time)} />
      <ErrorNote error={records.error} what="Figures could not be loaded" />
      <section class={`panel fleet${stale(found.time) ? ' stale' : ''}`}>
        <Table
          label="Machines" pagewide rows={rows} columns={shownColumns} rowKey={(r) => r.name} defaultSort="state"
          href={(r) => href(machinePath(r.name))} card={(r) => <Card r={r} />} rowClass={(r) => (r.state === 'down' || r.state === 'offline' ? 'old' : '')}
          onVisible={sparks.want} {...(group === 'tag' && { group: byTag })}
          empty={all.length
            ? <Empty icon="filter" title="No machine fits the filter" why={[text && `“${text}”`, tag && `tag ${tag}`, show].filter(Boolean).join(', ')}><button type="button" class="btn" onClick={() => setParams({ q: null, show: null, tag: null })}>Show all {all.length}</button></Empty>
            : <NoMachines disco={disco.data} />}
        />
      </section>
      {param('drawer') === 'silent' && disco.data && <NotReporting d={disco.data} onClose={() => setParams({ drawer: null })} />}
    </>
  );
}

const byTag = (r: FleetRow) => r.tags[0] ?? 'without a tag';

function stale(time: number): boolean {
  return !frozen.value && interval.value !== 'off' && time > 0 && second.value - time > 120;
}

function PageHead({ children }: { children?: preact.ComponentChildren }) {
  return <div class="pagehead"><h1>Fleet</h1>{children}</div>;
}

function TagMenu({ tags, all }: { tags: string[]; all: FleetRow[] }) {
  return (
    <Menu icon="filter" label={tagFilter.value || 'All tags'} title="Only machines with a tag">
      {(close) => (
        <>
          <button type="button" aria-selected={!tagFilter.value} onClick={() => { setParams({ tag: null }, false); close(); }}>All tags</button>
          {tags.map((t) => <button type="button" key={t} aria-selected={tagFilter.value === t} onClick={() => { setParams({ tag: t }, false); close(); }}><span class="grow">{t}</span><span class="dim num">{all.filter((r) => r.tags.includes(t)).length}</span></button>)}
        </>
      )}
    </Menu>
  );
}

function Problems({ all, silent, time }: { all: FleetRow[]; silent: number; time: number }) {
  const show = param('show');
  const count = (s: string) => all.filter((r) => shows(r, s)).length;
  const down = count('down');
  const critical = count('critical');
  const warning = count('warning');
  const units = all.reduce((n, r) => n + (r.up > 0 ? r.unitsFailed ?? 0 : 0), 0);
  const offline = count('offline');
  const waiting = all.filter((r) => r.state === 'waiting').length;
  if (!all.length) return null;
  const filter = (name: string, n: number, level: Level, icon: string, word: string) => n > 0 && (
    <button type="button" class={`problem ${level}`} aria-pressed={show === name} onClick={() => setParams({ show: show === name ? null : name }, false)}>
      <Icon name={icon} /><b>{n}</b> {word}
    </button>
  );
  const calm = !down && !critical && !warning && !units;
  const healthy = all.length - offline - waiting;
  return (
    <div class="problems" role="group" aria-label="What is wrong">
      {calm && healthy === 0 && <span class="problem off"><Icon name="wait" />{waiting ? 'No machine has answered yet' : 'Nobody is home'}</span>}
      {calm && healthy > 0 && <span class="problem ok"><Icon name="ok" />{healthy === 1 ? 'The machine is healthy' : `All ${healthy} machines healthy`}, checked {ago(second.value - time)} ago</span>}
      {filter('down', down, 'crit', 'down', 'down')}
      {filter('critical', critical, 'crit', 'crit', critical === 1 ? 'machine critical' : 'machines critical')}
      {filter('warning', warning, 'warn', 'warn', warning === 1 ? 'machine with a warning' : 'machines with warnings')}
      {filter('units', units, 'warn', 'services', units === 1 ? 'failed unit' : 'failed units')}
      {filter('offline', offline, 'off', 'off', 'offline, as they may be')}
      {silent > 0 && <button type="button" class="problem off" onClick={() => setParams({ drawer: 'silent' }, false)}><Icon name="wait" /><b>{silent}</b> not reporting</button>}
    </div>
  );
}

const DEFAULT_HIDDEN = ['kernel', 'exporter', 'memoryStalled'];

function fleetColumns(spark: Map<string, (number | null)[]>): Column<FleetRow>[] {
  return [
    { id: 'state', title: 'Status', width: '104px', sort: (r) => STATES.indexOf(r.state) * 1000 - Math.min(999, r.critical * 30 + r.warning * 3 + (r.unitsFailed ?? 0)), cell: (r) => { const l = LOOK[r.state]; return <Status level={l.level} icon={l.icon}>{l.word}</Status>; } },
    { id: 'name', title: 'Machine', class: 'machine', sort: (r) => r.name, cell: (r) => (
      <span class="namecell">
        <a class="ellipsis" href={href(machinePath(r.name))}><b>{r.name}</b></a>
        {/* What is wrong needs the room more than tags do. */}
        {!r.why && r.tags.slice(0, 3).map((t) => <button type="button" class="chip" key={t} title={`Only tag ${t}`} onClick={() => setParams({ tag: t }, false)}>{t}</button>)}
        {!r.why && r.tags.length > 3 && <span class="dim" title={r.tags.join(', ')}>+{r.tags.length - 3}</span>}
        {r.why && <span class="dim ellipsis why" title={[r.why, r.tags.length && `tags: ${r.tags.join(', ')}`].filter(Boolean).join('\n')}>{r.why}</span>}
      </span>
    ) },
    { id: 'cpu', title: 'CPU', num: true, width: '180px', sort: (r) => r.cpu, cell: (r) => <span class="cpucell"><Spark values={spark.get(r.name)} max={1} label={`CPU of ${r.name} over an hour`} /><Meter value={r.cpu} warn={0.85} crit={0.97} /></span> },
    { id: 'memory', title: 'Memory', num: true, width: '104px', sort: (r) => r.memory, cell: (r) => <Meter value={r.memory} warn={0.85} crit={0.95} /> },
    { id: 'filesystem', title: 'Fullest file system', head: 'Disk', num: true, width: '104px', sort: (r) => r.filesystem, cell: (r) => <Meter value={r.filesystem} warn={0.9} crit={0.97} /> },
    { id: 'network', title: 'Network in and out, bit/s', head: 'Net, bit/s', num: true, sort: (r) => (r.receive ?? 0) + (r.transmit ?? 0) || undefined, cell: (r) => (r.receive === undefined ? '–' : <span title="received, sent">{format(r.receive * 8)} <span class="dim">↓</span> {format(r.transmit === undefined ? undefined : r.transmit * 8)} <span class="dim">↑</span></span>) },
    { id: 'io', title: 'Time stalled on IO', head: 'IO stall', num: true, sort: (r) => r.ioStalled, cell: (r) => format(r.ioStalled, 'ratio') },
    { id: 'memoryStalled', title: 'Time stalled on memory', head: 'Mem. stall', num: true, sort: (r) => r.memoryStalled, cell: (r) => format(r.memoryStalled, 'ratio') },
    { id: 'temperature', title: 'Hottest sensor', head: 'Temp.', num: true, sort: (r) => r.temperature, cell: (r) => (r.temperature === undefined ? '–' : `${Math.round(r.temperature)} °C`) },
    { id: 'units', title: 'Failed units', head: 'Failed', num: true, sort: (r) => r.unitsFailed, cell: (r) => (r.unitsFailed ? <a class="status warn" href={href(machinePath(r.name), { tab: 'services' })}>{r.unitsFailed}</a> : r.unitsFailed === 0 ? <span class="dim">0</span> : '–') },
    { id: 'uptime', title: 'Uptime', num: true, sort: (r) => (r.booted ? now.value - r.booted : undefined), cell: (r) => <span class="row" style={{ flexWrap: 'nowrap', justifyContent: 'flex-end', gap: '6px' }}>{r.booted ? ago(now.value - r.booted) : '–'}{r.reboot && <span class="status badge info" title="A reboot is due: another kernel is installed"><Icon name="refresh" />reboot</span>}</span> },
    { id: 'os', title: 'System', class: 'ellipsis', sort: (r) => r.os, cell: (r) => <span title={r.os}>{r.os || '–'}</span> },
    { id: 'kernel', title: 'Kernel', sort: (r) => r.kernel, cell: (r) => r.kernel || '–' },
    { id: 'exporter', title: 'Exporter', sort: (r) => r.exporter, cell: (r) => r.exporter || '–' },
  ];
}

function Card({ r }: { r: FleetRow }) {
  const l = LOOK[r.state];
  return (
    <span class="machinecard">
      <span class="row"><b class="grow ellipsis">{r.name}</b><Status level={l.level} icon={l.icon} badge>{l.word}</Status></span>
      <span class="dim ellipsis">{r.why || [r.os, r.booted && `up ${ago(now.value - r.booted)}`].filter(Boolean).join(' · ') || '–'}</span>
      <span class="figures">
        <span><span class="dim">CPU</span><Meter value={r.cpu} warn={0.85} crit={0.97} /></span>
        <span><span class="dim">Mem</span><Meter value={r.memory} warn={0.85} crit={0.95} /></span>
        <span><span class="dim">Disk</span><Meter value={r.filesystem} warn={0.9} crit={0.97} /></span>
      </span>
    </span>
  );
}

// useSparks asks for the CPU lines of the rows in sight, all in one request.
const sparkCache = new RangeCache(4);
function useSparks() {
  const [data, setData] = useState(new Map<string, (number | null)[]>());
  const names = useRef<string[]>([]);
  const timer = useRef(0);
  const load = useCallback(() => {
    if (!names.current.length) return;
    const step = 60;
    const end = Math.floor((at.value ?? Date.now() / 1000) / step) * step;
    const grid = { start: end - 3600, end, step };
    const expr = `machine:cpu_used:ratio{machine=~${quote(anyOf(names.current))}}`;
    const asked = sparkCache.missing(expr, grid);
    queryRange(expr, asked.start, asked.end, step).then((m) => {
      const frame = sparkCache.put(expr, grid, asked, m);
      setData((old) => {
        const next = new Map(old);
        for (const s of frame.series) next.set(s.metric.machine ?? '', s.values);
        return next;
      });
    }, () => undefined);
  }, []);
  const want = useCallback((rows: FleetRow[]) => {
    names.current = rows.map((r) => r.name).sort();
    clearTimeout(timer.current);
    timer.current = window.setTimeout(load, 200);
  }, []);
  const t = tick.value;
  useEffect(() => { if (t) load(); }, [t]);
  return { data, want };
}

function NoMachines({ disco }: { disco: Discovery | undefined }) {
  const methods = disco?.methods ?? [];
  return (
    <Empty icon="fleet" title="No machines" why={methods.length ? `Searched by ${methods.map((m) => m.method).join(', ')}. ${methods.filter((m) => m.error).map((m) => `${m.method}: ${m.error}`).join(' ')}` : 'The targets of this server carry no label “machine”, or there are none. Targets and Explore show what is scraped.'}>
      <Snippet text={'clanmon server --discovery tailscale\nclanmon server --discovery.static node=alpha,beta'} />
      <a class="btn" href={href('/targets')}>Targets</a>
    </Empty>
  );
}

function NotReporting({ d, onClose }: { d: Discovery; onClose: () => void }) {
  return (
    <Overlay kind="sheet" title="Not reporting" onClose={onClose}>
      <p class="dim">Found, but nothing there has answered with metrics yet. These raise no alert.</p>
      {(d.waiting ?? []).map((w) => (
        <div class="panel" key={`${w.job} ${w.instance}`}>
          <div class="body stack">
            <div class="row"><b class="grow">{w.machine}</b><span class="chip">{w.job}</span><Status level="off" icon="wait">{w.reason || 'not asked yet'}</Status></div>
            <p class="dim wrap">{w.address}, found by {w.method}, asked {w.attempts} {w.attempts === 1 ? 'time' : 'times'}{w.error && `: ${w.error}`}</p>
            <Snippet text={`curl -sS http://${w.address}/metrics | head`} />
          </div>
        </div>
      ))}
      {(d.waiting?.length ?? 0) > 0 && <><h3>To make a machine report</h3><Snippet text="clanmon exporter" /></>}
      {(d.leftOut?.length ?? 0) > 0 && <h3>Left out</h3>}
      {(d.leftOut ?? []).map((l) => <p key={l.device}><b>{l.device}</b> <span class="dim">({l.method}): {l.reason}</span></p>)}
    </Overlay>
  );
}
