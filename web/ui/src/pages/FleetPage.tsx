import { useCallback, useEffect, useMemo, useRef, useState } from 'preact/hooks';
import { checks as fetchChecks } from '../api/checks';
import { jobs as fetchJobs } from '../api/jobs';
import { discovery, fleet as fleetOf, receivers as fetchReceivers } from '../api/clanmon';
import { queryRange } from '../api/prom';
import type { Job } from '../api/types/jobs';
import type { Discovery } from '../api/types/machines';
import { Ago, Empty, ErrorNote, Loading, Menu, Overlay, Snippet, stale } from '../components/bits';
import { WorstBackup } from '../components/Backups';
import { FirstSteps } from '../components/FirstSteps';
import { Icon } from '../components/icons';
import { MachineState } from '../components/MachineState';
import { Meter } from '../components/Meter';
import { Notices } from '../components/Notices';
import { NotReporting } from '../components/NotReporting';
import { SilenceTrace, silenceTitle, untilText } from '../components/SilenceTrace';
import { Spark } from '../components/Spark';
import { PickBar, PickButton, Tick } from '../components/Picks';
import { Status, type Level } from '../components/Status';
import { Table, type Column } from '../components/Table';
import { lookUp } from '../lib/discovery';
import {
  FIGURES,
  hasTag,
  healthy,
  inOrder,
  isTroubled,
  matches,
  shortSystem,
  shows,
  sparkQuery,
  tagsOf,
  whyOf,
  type FleetRow,
} from '../lib/fleet';
import { countText, isHere, isWhere, otherSparkQuery, silentSites, watchedBy } from '../lib/elsewhere';
import { leftText, WEEK } from '../lib/capacity';
import { isFailing } from '../lib/checks';
import { ago, format } from '../lib/format';
import { byMachine, isTrouble, worst } from '../lib/jobs';
import { RangeCache } from '../lib/rangeCache';
import { dateTime } from '../lib/time';
import { MACHINE, NOT_SCRAPED, REBOOT } from '../lib/words';
import { at, known, now, second, serverNow, setRelative, tick, useOld } from '../state/clock';
import { useData } from '../state/data';
import { useElsewhere } from '../state/elsewhere';
import { useFleet, useImpatience } from '../state/fleet';
import { href, machinePath, param, setParams, tagFilter } from '../state/location';
import { pick, picking } from '../state/picked';
import { phone } from '../state/media';
import { isUTC, recall, remember } from '../state/prefs';
import { storage } from '../state/storage';
import { GroupHead } from './fleet/GroupHead';
import { SilenceButton, SilenceShown } from './fleet/SilenceShown';
import { Tiles, ViewButtons } from './fleet/Tiles';
import { Totals } from './fleet/Totals';
import './fleet.css';

export default function FleetPage() {
  const fleet = useFleet();
  const then = useData(at.value === undefined ? null : 'fleet then', (s) => fleetOf(undefined, at.value, s), 3600);
  const disco = useData('discovery', discovery, 60);
  const receivers = useData('receivers', fetchReceivers, 60);
  const all = useMemo(
    () => (at.value === undefined || !fleet.rows ? fleet.rows : asOf(fleet.rows, then.data?.rows ?? [])),
    [fleet.rows, then.data, at.value],
  );
  const elsewhere = useElsewhere();
  const others = useMemo(
    () => (at.value === undefined ? elsewhere.rows : asOf(elsewhere.rows, [])),
    [elsewhere.rows, at.value],
  );
  // all are this server's own; every one is a row of the table.
  const every = useMemo(() => [...(all ?? []), ...others], [all, others]);
  const tag = tagFilter.value;
  const show = param('show');
  const text = param('q');
  const where = param('where');
  const rows = useMemo(
    () =>
      every.filter(
        (r) => isWhere(r, where) && hasTag(r, tag) && shows(r, show, second.peek()) && (!text || matches(r, text)),
      ),
    [every, tag, show, text, where],
  );
  const here = useMemo(() => rows.filter(isHere), [rows]);
  const tags = useMemo(() => [...new Set(every.flatMap((r) => r.tags ?? []))].sort(), [every]);
  const tiles = param('view') === 'tiles';
  const group = param('group', tiles ? 'tag' : '');
  // By tag, a machine stands below each of its tags.
  const lines = useMemo<Line[]>(
    () => (group === 'tag' ? rows.flatMap((r) => tagsOf(r, tag).map((t) => ({ ...r, group: t }))) : rows),
    [rows, group, tag],
  );
  const sparks = useSparks();
  const [hidden, setHidden] = useState<string[]>(() => recall('fleet.hidden', DEFAULT_HIDDEN));
  const jobs = useData('backups', (s) => fetchJobs({ backups: true }, s), 60);
  const backups = useMemo(() => byMachine(jobs.data ?? []), [jobs.data]);
  const columns = useMemo(() => fleetColumns(sparks.data, backups), [sparks.data, backups]);
  const shownColumns = useMemo(() => columns.filter((c) => !hidden.includes(c.id)), [columns, hidden]);
  // What is left out on purpose, such as phones, is not expected to report.
  const silent = new Set(disco.data?.waiting?.map((w) => w.machine)).size;
  // No row is in sight.
  useEffect(() => {
    if (tiles) sparks.want([]);
  }, [tiles]);
  const old = useOld(fleet.time);
  const AddMachine = useAddMachine(param('add') !== '');
  useImpatience(
    !all?.length || all.some((r) => r.state === 'waiting' || r.checking || FIGURES.every((f) => r[f] === undefined)),
  );

  if (!all && fleet.error)
    return (
      <>
        <PageHead />
        {known.value ? (
          <ErrorNote error={fleet.error} what="The machines could not be loaded" />
        ) : (
          <div class="panel">
            <Empty icon="wait" title="The state of the fleet is unknown" why="The server has not responded yet." />
          </div>
        )}
      </>
    );
  // What stands above the table is awaited, so that the table does not jump.
  if (!all || (receivers.loading && !receivers.error))
    return (
      <>
        <PageHead />
        <Loading lines={5} />
      </>
    );

  const named = all.find((r) => r.name === param('silenced'));
  return (
    <>
      <PageHead>
        {old && known.value && (
          <Status level="warn" badge>
            updated <Ago time={fleet.time} suffix=" ago" />
          </Status>
        )}
        <button type="button" class="btn" aria-label="Add a machine" onClick={() => setParams({ add: '1' }, false)}>
          {phone.value && every.length > 0 ? <Icon name="plus" /> : 'Add a machine'}
        </button>
        {every.length > 0 && (
          <>
            <input
              class="field"
              type="search"
              aria-label="Filter machines"
              placeholder="Filter: name, tag, system"
              value={text}
              onInput={(e) => setParams({ q: e.currentTarget.value })}
            />
            {tags.length > 0 && <TagMenu tags={tags} all={every} />}
            {tags.length > 0 && (
              <button
                type="button"
                class="btn"
                aria-pressed={group === 'tag'}
                onClick={() =>
                  setParams({ group: tiles ? (group === 'tag' ? 'none' : null) : group === 'tag' ? null : 'tag' })
                }
              >
                Group by tag
              </button>
            )}
            {tag && (
              <a class="btn" href={href('/compare')} title={`Compare machines with tag ${tag}`}>
                Compare
              </a>
            )}
            <ViewButtons tiles={tiles} />
            <SilenceButton rows={here} elsewhere={rows.length - here.length} />
            {phone.value && !tiles && <PickButton />}
            {!phone.value && !tiles && (
              <Menu icon="columns" title="Columns">
                {() =>
                  columns
                    .filter((c) => !['pick', 'state', 'name'].includes(c.id))
                    .map((c) => (
                      <button
                        type="button"
                        key={c.id}
                        role="menuitemcheckbox"
                        aria-checked={!hidden.includes(c.id)}
                        onClick={() => {
                          const h = hidden.includes(c.id) ? hidden.filter((x) => x !== c.id) : [...hidden, c.id];
                          setHidden(h);
                          remember('fleet.hidden', h);
                        }}
                      >
                        <span style={{ width: '16px' }}>{!hidden.includes(c.id) && <Icon name="ok" />}</span>
                        {c.title}
                      </button>
                    ))
                }
              </Menu>
            )}
          </>
        )}
      </PageHead>
      <Notices list={fleet.notices} />
      <FirstSteps rows={all} discovery={disco.data} started={fleet.started} receivers={receivers.data} />
      <Sites every={every} where={where} warnings={elsewhere.warnings} time={elsewhere.time} />
      <Problems all={all} others={others} backups={backups} silent={silent} time={fleet.time} started={fleet.started} />
      {at.value !== undefined && all.length > 0 && (
        <p class="note row">
          <span class="grow">
            Values as of {dateTime(at.value, isUTC())}, the end of the selected range. Status is current.
          </span>
          <button type="button" class="btn" onClick={() => setRelative('1h')}>
            Show current values
          </button>
        </p>
      )}
      <ErrorNote
        error={fleet.error ?? then.error}
        what={fleet.error ? stale(fleet.time) : 'The values could not be loaded'}
      />
      <Totals rows={here} all={all.length} elsewhere={others.length > 0} />
      <section class={`panel fleet${old ? ' stale' : ''}`}>
        {tiles && rows.length > 0 ? (
          <Tiles rows={rows} byTag={group === 'tag'} tag={tag} />
        ) : (
          <Table
            label="Machines"
            pagewide
            fixed
            rows={lines}
            columns={shownColumns}
            rowKey={rowKey}
            defaultSort="state"
            href={(r) => href(machinePath(r.name))}
            card={(r) => <Card r={r} />}
            onMark={(r) => isHere(r) && pick(r.name)}
            {...(picking.value && { beside: (r: FleetRow) => <RowTick r={r} /> })}
            rowClass={(r) =>
              `${r.state === 'down' || r.state === 'offline' ? 'old' : ''} ${r.state === 'down' || r.state === 'critical' ? 'critical' : ''}`
            }
            onVisible={sparks.want}
            {...(group === 'tag' && {
              group: byTag,
              groupHead: (t, n) => <GroupHead tag={t} n={n} rows={rows.filter((r) => tagsOf(r, '').includes(t))} />,
            })}
            empty={
              every.length ? (
                <NoMatch text={text} tag={tag} show={show} total={every.length} disco={disco.data} />
              ) : (
                <NoMachines disco={disco.data} silent={silent} />
              )
            }
          />
        )}
      </section>
      <PickBar />
      {named && (
        <Overlay kind="dialog" title={`Silences of ${named.name}`} onClose={() => setParams({ silenced: null }, false)}>
          <SilenceTrace list={named.silenced} />
          {!named.silenced?.length && <p class="dim">No active silences.</p>}
        </Overlay>
      )}
      {param('add') && AddMachine && (
        <AddMachine rows={all} discovery={disco.data} onClose={() => setParams({ add: null }, false)} />
      )}
      {param('silence') === 'shown' && <SilenceShown rows={here} />}
      {param('drawer') === 'silent' && disco.data && (
        <NotReporting d={disco.data} onClose={() => setParams({ drawer: null })} />
      )}
    </>
  );
}

type Line = FleetRow & { group?: string }; // the tag below which the row stands

// asOf puts figures of another time into rows that say the state of now.
const asOf = (rows: FleetRow[], then: FleetRow[]): FleetRow[] => {
  const by = new Map(then.map((r) => [r.name, r]));
  return rows.map((r) => {
    const bare = { ...r };
    for (const f of FIGURES) delete bare[f];
    return Object.assign(bare, Object.fromEntries(FIGURES.map((f) => [f, by.get(r.name)?.[f]])));
  });
};

const byTag = (r: Line) => r.group ?? '';
const rowKey = (r: Line) => (r.group === undefined ? r.name : `${r.group} ${r.name}`);

// The dialog and the document in it are loaded by those who open it.
function useAddMachine(want: boolean) {
  const [dialog, setDialog] = useState<{ default: typeof import('../components/AddMachine').default }>();
  useEffect(() => {
    if (want) void import('../components/AddMachine').then(setDialog);
  }, [want]);
  return dialog?.default;
}

function PageHead({ children }: { children?: preact.ComponentChildren }) {
  return (
    <div class="pagehead">
      <h1>Fleet</h1>
      {children}
    </div>
  );
}

function TagMenu({ tags, all }: { tags: string[]; all: FleetRow[] }) {
  return (
    <Menu icon="filter" label={tagFilter.value || 'All tags'} title="Filter by tag">
      {(close) => (
        <>
          <button
            type="button"
            aria-selected={!tagFilter.value}
            onClick={() => {
              setParams({ tag: null }, false);
              close();
            }}
          >
            All tags
          </button>
          {tags.map((t) => (
            <button
              type="button"
              key={t}
              aria-selected={tagFilter.value === t}
              onClick={() => {
                setParams({ tag: t }, false);
                close();
              }}
            >
              <span class="grow">{t}</span>
              <span class="dim num">{all.filter((r) => r.tags?.includes(t)).length}</span>
            </button>
          ))}
        </>
      )}
    </Menu>
  );
}

const RowTick = ({ r }: { r: FleetRow }) => (
  <Tick name={r.name} without={r.site === undefined ? undefined : `Cannot be compared: ${watchedBy(r.site)}`} />
);

// Sites counts the machines of other servers apart from this server's own.
function Sites({
  every,
  where,
  warnings,
  time,
}: {
  every: FleetRow[];
  where: string;
  warnings: string[];
  time: number;
}) {
  const choice = (id: string, what: string) => (
    <button
      type="button"
      class="btn"
      aria-pressed={where === id}
      onClick={() => setParams({ where: where === id ? null : id }, false)}
    >
      {what}
    </button>
  );
  return (
    <>
      {(every.some((r) => !isHere(r)) || where) && (
        <div class="row" role="group" aria-label="Where machines are watched">
          <span class="dim">{countText(every)}</span>
          <span class="group">
            {choice('here', 'Here')}
            {choice('elsewhere', 'Elsewhere')}
          </span>
        </div>
      )}
      {silentSites(every).map(({ site, since }) => (
        <p class="note warn" key={site}>
          No samples from {site} for <Ago time={since} />. Its server or its connection may be down.
        </p>
      ))}
      {warnings.map((w) => (
        <p class="note warn" key={w}>
          Machines elsewhere: {w}
          {time > 0 && w.startsWith('History not reached') && `. Showing data from ${dateTime(time, isUTC())}`}
        </p>
      ))}
    </>
  );
}

// Problems counts what is wrong; each count is a filter. Healthy is said only of
// machines that were judged, and only while the server responds.
function Problems({
  all,
  others,
  backups,
  silent,
  time,
  started,
}: {
  all: FleetRow[];
  others: FleetRow[];
  backups: Map<string, Job[]>;
  silent: number;
  time: number;
  started: number;
}) {
  const show = param('show');
  const old = useOld(time) || !known.value;
  const count = (s: string) => all.filter((r) => shows(r, s, second.peek())).length;
  const [down, critical, warning, offline, waiting, unjudged, reboot, silenced] = [
    'down',
    'critical',
    'warning',
    'offline',
    'waiting',
    'unjudged',
    'reboot',
    'silenced',
  ].map(count) as [number, number, number, number, number, number, number, number];
  const failed = (rows: FleetRow[]) => rows.reduce((n, r) => n + ((r.up ?? 0) > 0 ? (r.unitsFailed ?? 0) : 0), 0);
  const units = failed(all);
  if (!all.length && !others.length) return null;
  const filter = (name: string, n: number, level: Level, icon: string, word: string, title: string) => {
    const more = name === 'units' ? failed(others) : others.filter((r) => shows(r, name, second.peek())).length;
    if (!n && !more && show !== name) return null;
    return (
      <button
        type="button"
        class={`problem ${level}`}
        aria-pressed={show === name}
        title={title}
        onClick={() => setParams({ show: show === name ? null : name }, false)}
      >
        <Icon name={icon} />
        <b>{n || more}</b> {word}
        {more > 0 && (n ? `, ${more} elsewhere` : ' elsewhere')}
      </button>
    );
  };
  const checks = useData('checks', fetchChecks);
  const failing = (checks.data ?? []).filter(isFailing).length;
  const unsaved = [...backups.values()].flat().filter(isTrouble).length;
  const calm = !down && !critical && !warning && !units && !failing && !unsaved && !others.some(isTroubled);
  const well = all.filter(healthy).length;
  const checking = all.filter((r) => r.state === 'ok' && r.checking).length;
  const young = waiting > 0 && !!started && second.value - started < 120;
  return (
    <div class="problems" role="group" aria-label="Problems">
      {old ? (
        <span class="problem off" role="status">
          <Icon name="wait" />
          <span>
            Current state unknown. Showing data from <Ago time={time} suffix=" ago" />
          </span>
        </span>
      ) : young ? (
        <span class="problem off" role="status">
          <Icon name="wait" />
          <span>
            Server started <Ago time={started} suffix=" ago" />; first scrapes are running
          </span>
        </span>
      ) : (
        calm &&
        (storage.value?.storing === false ? (
          <span class="problem off" role="status">
            <Icon name="info" />
            Unknown: samples are not stored
          </span>
        ) : checking > 0 ? (
          <span class="problem off" role="status">
            <Icon name="wait" />
            Checking: rules are not evaluated yet
          </span>
        ) : well > 0 ? (
          <span class="problem ok">
            <Icon name="ok" />
            <span>
              {all.length === 1 && well === 1
                ? `The machine${others.length ? ' here' : ''} is healthy`
                : well === all.length - offline
                  ? `All ${well} machines${others.length ? ' here' : ''} healthy`
                  : `${well} of ${all.length} machines healthy`}
              , checked <Ago time={time} suffix=" ago" />
            </span>
          </span>
        ) : (
          all.length > 0 &&
          offline === all.length && (
            <span class="problem off">
              <Icon name="off" />
              All machines are off
            </span>
          )
        ))
      )}
      {filter('down', down, 'crit', 'down', 'down', 'Machines that do not respond')}
      {filter('critical', critical, 'crit', 'crit', 'critical', 'Machines with a critical alert')}
      {filter('warning', warning, 'warn', 'warn', warning === 1 ? 'warning' : 'warnings', 'Machines with a warning')}
      {filter(
        'units',
        units,
        'warn',
        'services',
        units === 1 ? 'failed unit' : 'failed units',
        'Machines with failed systemd units',
      )}
      {failing > 0 && (
        <a class="problem crit" href={href('/checks?state=failing')}>
          <Icon name="crit" />
          <b>{failing}</b> {failing === 1 ? 'check failing' : 'checks failing'}
        </a>
      )}
      {unsaved > 0 && (
        <a class="problem warn" href={href('/jobs?only=backups')}>
          <Icon name="clock" />
          <b>{unsaved}</b> {unsaved === 1 ? 'backup needs attention' : 'backups need attention'}
        </a>
      )}
      {filter(
        'full',
        count('full'),
        'warn',
        'clock',
        'full within 7 days',
        'Machines with a disk that will be full within 7 days, if it grows as it does',
      )}
      {filter('silenced', silenced, 'off', 'silence', 'silenced', 'Machines with an active silence')}
      {filter(
        'reboot',
        reboot,
        'info',
        'refresh',
        reboot === 1 ? REBOOT : 'reboots needed',
        'Machines that run another kernel than the installed one',
      )}
      {filter(
        'unjudged',
        unjudged,
        'off',
        'info',
        MACHINE.unjudged.toLowerCase(),
        'Machines that no built-in rule covers',
      )}
      {filter('waiting', waiting, 'off', 'wait', NOT_SCRAPED, 'Machines waiting for their first scrape')}
      {filter('offline', offline, 'off', 'off', 'offline', 'Intermittent machines that are off')}
      {silent > 0 && (
        <button type="button" class="problem off" onClick={() => setParams({ drawer: 'silent' }, false)}>
          <Icon name="wait" />
          <b>{silent}</b> not reporting
        </button>
      )}
    </div>
  );
}

const DEFAULT_HIDDEN = ['kernel', 'exporter', 'memoryStalled'];

// Whether a machine that does not respond is still up is not known.
const uptime = (r: FleetRow) => (r.booted && (r.up ?? 0) > 0 ? (at.value ?? now.value) - r.booted : undefined);

function fleetColumns(spark: Map<string, (number | null)[]>, backups: Map<string, Job[]>): Column<FleetRow>[] {
  return [
    {
      id: 'pick',
      title: 'Select',
      head: <span class="sr">Select</span>,
      class: 'pick',
      width: '34px',
      cell: (r) => <RowTick r={r} />,
    },
    {
      id: 'state',
      title: 'Status',
      width: '124px',
      sort: inOrder,
      cell: (r) => <MachineState row={r} />,
    },
    {
      id: 'name',
      title: 'Machine',
      class: 'machine',
      min: 330,
      sort: (r) => r.name,
      cell: (r) => <NameCell r={r} />,
    },
    {
      id: 'cpu',
      title: 'CPU',
      num: true,
      width: '144px',
      sort: (r) => r.cpu,
      cell: (r) => (
        <span class="cpucell">
          <Spark values={spark.get(r.name)} max={1} label={`CPU of ${r.name} over an hour`} />
          <b>{format(r.cpu, 'ratio')}</b>
        </span>
      ),
    },
    {
      id: 'memory',
      title: 'Memory',
      num: true,
      width: '112px',
      sort: (r) => r.memory,
      cell: (r) => <Meter value={r.memory} warn={0.95} crit={2} />,
    },
    {
      id: 'filesystem',
      title: 'Fullest file system',
      head: 'Disk',
      num: true,
      width: '112px',
      sort: (r) => r.filesystem,
      cell: (r) => <Meter value={r.filesystem} warn={0.9} crit={0.97} />,
    },
    {
      id: 'full',
      title: 'Time until the first disk is full',
      head: 'Full in',
      num: true,
      width: '84px',
      rank: 2,
      sort: (r) => r.full,
      cell: (r) => <FullIn r={r} />,
    },
    {
      id: 'network',
      title: 'Network in and out, bit/s',
      head: 'Net, bit/s',
      num: true,
      width: '144px',
      rank: 3,
      sort: (r) => (r.receive === undefined ? undefined : r.receive + (r.transmit ?? 0)),
      cell: (r) =>
        r.receive === undefined ? (
          '–'
        ) : (
          <span title="received, sent">
            {format(r.receive * 8)} <span class="dim">↓</span>{' '}
            {format(r.transmit === undefined ? undefined : r.transmit * 8)} <span class="dim">↑</span>
          </span>
        ),
    },
    {
      id: 'io',
      title: 'Time that all work waited for I/O',
      head: 'I/O stall',
      num: true,
      width: '84px',
      rank: 6,
      sort: (r) => r.ioStalled,
      cell: (r) => format(r.ioStalled, 'ratio'),
    },
    {
      id: 'memoryStalled',
      title: 'Time that all work waited for memory',
      head: 'Mem. stall',
      num: true,
      width: '98px',
      rank: 7,
      sort: (r) => r.memoryStalled,
      cell: (r) => format(r.memoryStalled, 'ratio'),
    },
    {
      id: 'temperature',
      title: 'Hottest sensor',
      head: 'Temp.',
      num: true,
      width: '72px',
      rank: 4,
      sort: (r) => r.temperature,
      cell: (r) => (r.temperature === undefined ? '–' : `${Math.round(r.temperature)} °C`),
    },
    {
      id: 'units',
      title: 'Failed units',
      head: 'Failed',
      num: true,
      width: '76px',
      rank: 1,
      sort: (r) => r.unitsFailed,
      cell: (r) =>
        r.unitsFailed ? (
          <a class="status warn" href={href(machinePath(r.name), { tab: 'services' })}>
            {r.unitsFailed}
          </a>
        ) : r.unitsFailed === 0 ? (
          <span class="dim">0</span>
        ) : (
          <span title="Unknown: no exporter reports systemd units">–</span>
        ),
    },
    // Where nobody has a backup that is known, there is no column of dashes.
    ...(backups.size
      ? [
          {
            id: 'backup',
            title: 'Last success of the oldest backup',
            head: 'Backup',
            width: '132px',
            rank: 2,
            sort: (r: FleetRow) => worst(backups.get(r.name) ?? [])[0]?.lastSuccess ?? undefined,
            cell: (r: FleetRow) => <WorstBackup list={backups.get(r.name)} />,
          },
        ]
      : []),
    {
      id: 'uptime',
      title: 'Uptime',
      num: true,
      width: '118px',
      rank: 2,
      sort: (r) => uptime(r),
      cell: (r) => (
        <span class="uptime">
          {r.reboot && (r.up ?? 0) > 0 && (
            <span class="status info" title="Reboot needed: the installed kernel is not running yet">
              <Icon name="refresh" />
              <span class="sr">Reboot needed. </span>
            </span>
          )}
          {ago(uptime(r))}
        </span>
      ),
    },
    {
      id: 'os',
      title: 'System',
      width: '136px',
      rank: 5,
      sort: (r) => r.os,
      cell: (r) => <span title={r.os}>{r.os ? shortSystem(r.os) : '–'}</span>,
    },
    {
      id: 'kernel',
      title: 'Kernel',
      width: '130px',
      rank: 8,
      sort: (r) => r.kernel,
      cell: (r) => <span title={r.kernel}>{r.kernel || '–'}</span>,
    },
    {
      id: 'exporter',
      title: 'Exporter',
      width: '130px',
      rank: 9,
      sort: (r) => r.exporter,
      cell: (r) => <span title={r.exporter}>{r.exporter || '–'}</span>,
    },
  ];
}

// FullIn leads to the disks of the machine. A machine without a date is not full within a year,
// or not known for long enough.
function FullIn({ r }: { r: FleetRow }) {
  if (r.full === undefined) return <span class="dim">–</span>;
  const left = r.full - (at.value ?? second.peek());
  return (
    <a
      class={left < WEEK ? 'status warn' : ''}
      href={href(machinePath(r.name), { tab: 'disks', range: '7d' })}
      title={dateTime(r.full, isUTC())}
    >
      {left <= 0 ? 'full' : leftText(left)}
    </a>
  );
}

// Since when matters where something is wrong, and comes before what it is.
function Why({ r }: { r: FleetRow }) {
  const unheard = !isHere(r) && !r.targets; // its text says how long
  const timed =
    !unheard && (r.state === 'down' || r.state === 'critical' || r.state === 'warning' || r.state === 'offline');
  const why = whyOf(r);
  return (
    <>
      {timed && r.since && (
        <>
          <Ago time={Date.parse(r.since) / 1000} />
          {why && ' · '}
        </>
      )}
      {why}
    </>
  );
}

function NameCell({ r }: { r: FleetRow }) {
  const warned = r.warnings?.length ? r.warnings.map((w) => w.text).join('\n') : '';
  const why = whyOf(r);
  return (
    <span
      class="namecell"
      title={[why, warned, r.tags?.length && `tags: ${r.tags.join(', ')}`].filter(Boolean).join('\n')}
    >
      <a class="ellipsis" href={href(machinePath(r.name))}>
        <b>{r.machine ?? r.name}</b>
      </a>
      {r.site !== undefined && (
        <span class="chip site" title={watchedBy(r.site)}>
          {r.site}
        </span>
      )}
      {warned && (
        <span class="status warn">
          <Icon name="warn" />
          <span class="sr">{warned}</span>
        </span>
      )}
      {!!r.silenced?.length && (
        <button
          type="button"
          class="chip"
          tabIndex={-1}
          title={silenceTitle(r.silenced)}
          onClick={() => setParams({ silenced: r.name }, false)}
        >
          <Icon name="silence" /> {untilText(r.silenced)}
        </button>
      )}
      {r.state === 'ok' && !!r.pending && (
        <span class="dim nowrap" title="Alerts that fire soon if their condition persists">
          {r.pending} pending
        </span>
      )}
      {/* What is wrong needs the room more than tags do; tags that do not fit are left out whole. */}
      {why || r.state === 'down' ? (
        <span class="dim ellipsis why">
          <Why r={r} />
        </span>
      ) : (
        <span class="tags">
          {(isHere(r) ? (r.tags ?? []) : []).map((t) => (
            <button
              type="button"
              class="chip"
              key={t}
              tabIndex={-1}
              title={`Filter by tag ${t}`}
              onClick={() => setParams({ tag: t }, false)}
            >
              {t}
            </button>
          ))}
        </span>
      )}
    </span>
  );
}

function Card({ r }: { r: FleetRow }) {
  const why = whyOf(r);
  return (
    <span class="machinecard">
      <span class="row">
        <b class={r.site === undefined ? 'grow ellipsis' : 'ellipsis'}>{r.machine ?? r.name}</b>
        {r.site !== undefined && (
          <>
            <span class="chip site">{r.site}</span>
            <span class="grow" />
          </>
        )}
        <MachineState row={r} badge />
      </span>
      <span class="dim ellipsis">
        {!!r.silenced?.length && (
          <>
            <Icon name="silence" /> silenced {untilText(r.silenced)}{' '}
          </>
        )}
        {why || r.state === 'down' ? (
          <>
            {r.checking && 'checking · '}
            <Why r={{ ...r, checking: false }} />
          </>
        ) : (
          [r.os && shortSystem(r.os), uptime(r) !== undefined && `up ${ago(uptime(r))}`, r.reboot && REBOOT]
            .filter(Boolean)
            .join(' · ') || '–'
        )}
      </span>
      <span class="figures">
        <span>
          <span class="dim">CPU</span>
          <Meter value={r.cpu} plain />
        </span>
        <span>
          <span class="dim">Memory</span>
          <Meter value={r.memory} warn={0.95} crit={2} />
        </span>
        <span>
          <span class="dim">Disk</span>
          <Meter value={r.filesystem} warn={0.9} crit={0.97} />
        </span>
      </span>
    </span>
  );
}

// useSparks asks for the CPU lines of the rows in sight, all in one request.
const sparkCache = new RangeCache(4);
function useSparks() {
  const [data, setData] = useState(new Map<string, (number | null)[]>());
  const wanted = useRef<FleetRow[]>([]);
  const timer = useRef(0);
  const abort = useRef<AbortController>();
  const load = useCallback(() => {
    abort.current?.abort();
    if (!wanted.current.length) return;
    const step = 60;
    const end = Math.floor((at.value ?? serverNow()) / step) * step;
    const grid = { start: end - 3600, end, step };
    const mine = (abort.current = new AbortController());
    const own = wanted.current.filter(isHere);
    const others = wanted.current.filter((r) => !isHere(r));
    for (const expr of [own.length ? sparkQuery(own) : '', otherSparkQuery(others)].filter(Boolean)) {
      const asked = sparkCache.missing(expr, grid);
      queryRange(expr, asked.start, asked.end, step, mine.signal).then(
        (m) => {
          if (mine.signal.aborted) return;
          const frame = sparkCache.put(expr, grid, asked, m);
          setData((old) => {
            const next = new Map(old);
            for (const s of frame.series) next.set(s.metric.machine ?? '', s.values);
            return next;
          });
        },
        () => undefined,
      ); // the page's own requests tell of a server that is away
    }
  }, []);
  const want = useCallback((rows: FleetRow[]) => {
    const sorted = [...new Map(rows.map((r) => [r.name, r])).values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    if (sorted.map((r) => r.name).join('\n') === wanted.current.map((r) => r.name).join('\n')) return;
    wanted.current = sorted;
    clearTimeout(timer.current);
    timer.current = window.setTimeout(load, 200);
  }, []);
  const t = tick.value;
  const when = at.value;
  useEffect(() => {
    load();
  }, [t, when]);
  useEffect(
    () => () => {
      clearTimeout(timer.current);
      abort.current?.abort();
    },
    [],
  );
  return { data, want };
}

function NoMatch({
  text,
  tag,
  show,
  total,
  disco,
}: {
  text: string;
  tag: string;
  show: string;
  total: number;
  disco: Discovery | undefined;
}) {
  const found = text ? lookUp(disco, text).slice(0, 5) : [];
  return (
    <Empty
      icon="filter"
      title="No machines match the filter"
      why={[text && `“${text}”`, tag && `tag ${tag}`, show].filter(Boolean).join(', ')}
    >
      {found.length > 0 && (
        <ul class="plain">
          {found.map((f) => (
            <li key={`${f.name} ${f.why}`}>
              <b>{f.name}</b>: {f.why}
            </li>
          ))}
        </ul>
      )}
      {text && disco && !found.length && <p>Discovery has not found “{text}” either.</p>}
      <span class="row">
        <button type="button" class="btn" onClick={() => setParams({ q: null, show: null, tag: null, where: null })}>
          Show all {total}
        </button>
        {text && disco && (
          <a class="btn" href={href('/targets', { tab: 'discovery' })}>
            Discovery
          </a>
        )}
      </span>
    </Empty>
  );
}

function NoMachines({ disco, silent }: { disco: Discovery | undefined; silent: number }) {
  const methods = (disco?.methods ?? []).filter((m) => m.method !== 'local');
  const broken = methods.filter((m) => m.error);
  return (
    <Empty
      icon="fleet"
      title="No machines yet"
      why={
        !disco
          ? undefined
          : broken.length
            ? broken.map((m) => `${m.method}: ${m.error}`).join('. ')
            : methods.length
              ? 'No target with the label “machine” or with metrics of a node or systemd exporter has responded yet.'
              : 'No discovery method is enabled and no targets are configured.'
      }
    >
      {disco && !methods.length && <Snippet text="clanmon server --discovery tailscale" />}
      <span class="row">
        {silent > 0 && (
          <button type="button" class="btn" onClick={() => setParams({ drawer: 'silent' }, false)}>
            {silent} not reporting
          </button>
        )}
        <a class="btn" href={href('/targets', { tab: 'discovery' })}>
          Targets and discovery
        </a>
      </span>
    </Empty>
  );
}
