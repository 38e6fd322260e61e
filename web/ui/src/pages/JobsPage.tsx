// Jobs: timers, oneshot services and pings of all machines, backups first. A row is a
// job; its sheet has the times of its runs and the commands to look further.
import { useMemo } from 'preact/hooks';
import { jobs as fetchJobs } from '../api/jobs';
import type { Job } from '../api/types/jobs';
import { AddJob } from '../components/AddJob';
import { Ago, Empty, ErrorNote, LastAnswer, Loading, Overlay, Snippet, stale, Time } from '../components/bits';
import { Icon } from '../components/icons';
import { JOB_LOOK, JobState } from '../components/JobState';
import { NoMatch } from '../components/NoMatch';
import { NextRun } from '../components/services/look';
import { Status } from '../components/Status';
import { States } from '../components/States';
import { Table, type Column } from '../components/Table';
import { hasTag } from '../lib/fleet';
import { seconds } from '../lib/format';
import {
  endedWell,
  inOrder,
  isTrouble,
  JOB,
  JOB_STATES,
  jobFits,
  keyOf,
  KIND,
  resultText,
  titleOf,
  usualText,
} from '../lib/jobs';
import { second } from '../state/clock';
import { useData } from '../state/data';
import { useFleet } from '../state/fleet';
import { href, machinePath, param, setParams, tagFilter } from '../state/location';
import './jobs.css';
import './rules.css';

export default function JobsPage() {
  const list = useData('jobs', (s) => fetchJobs({}, s));
  const { rows: fleet } = useFleet();
  const [text, state, group] = [param('q'), param('state'), param('group')];
  const backups = param('only') === 'backups';
  const tag = tagFilter.value;
  const all = useMemo(() => [...(list.data ?? [])].sort(inOrder), [list.data]);
  const machines = useMemo(
    () => (tag ? new Set((fleet ?? []).filter((m) => hasTag(m, tag)).map((m) => m.name)) : null),
    [fleet, tag],
  );
  const here = useMemo(
    () => all.filter((j) => jobFits(j, { text, state: '', backups, machines })),
    [all, text, backups, machines],
  );
  const rows = useMemo(() => (state ? here.filter((j) => j.state === state) : here), [here, state]);
  const open = all.find((j) => keyOf(j) === param('job'));
  const some = all.some((j) => j.backup);
  if (!list.data && !list.error)
    return (
      <>
        <Head />
        <Loading lines={5} />
      </>
    );
  return (
    <>
      <Head>
        {all.length > 0 && (
          <>
            <input
              class="field"
              type="search"
              aria-label="Filter jobs"
              placeholder="Filter: name, machine, result"
              value={text}
              onInput={(e) => setParams({ q: e.currentTarget.value })}
            />
            {some && (
              <button
                type="button"
                class="btn"
                aria-pressed={backups}
                onClick={() => setParams({ only: backups ? null : 'backups' }, false)}
              >
                Backups only
              </button>
            )}
            <button
              type="button"
              class="btn"
              aria-pressed={group === 'machine'}
              onClick={() => setParams({ group: group === 'machine' ? null : 'machine' }, false)}
            >
              Group by machine
            </button>
          </>
        )}
        <button type="button" class="btn" onClick={() => setParams({ add: true }, false)}>
          <Icon name="plus" />
          Add a job
        </button>
        <LastAnswer time={list.time} />
      </Head>
      <ErrorNote error={list.error} what={list.data ? stale(list.time) : 'The jobs could not be loaded'} />
      {all.length > 0 && (
        <States
          label="States of jobs"
          all={JOB_STATES.map((s) => ({
            id: s,
            n: here.filter((j) => j.state === s).length,
            ...JOB_LOOK[s],
            word: s === 'ok' ? 'OK' : JOB[s].toLowerCase(),
          }))}
          chosen={(s) => state === s}
          onChoose={(s) => setParams({ state: state === s ? null : s }, false)}
        />
      )}
      {some && (
        <p class="dim">
          A backup is OK if its job succeeded. An empty or incomplete backup is not visible here: restore a file from
          time to time.
        </p>
      )}
      <section class={`panel${list.error ? ' stale' : ''}`}>
        <Table
          label="Jobs"
          pagewide
          fixed
          rows={rows}
          columns={COLUMNS}
          rowKey={keyOf}
          defaultSort="state"
          {...(group === 'machine' ? { group: machineOf } : some && !backups && { group: backupOrNot })}
          onOpen={(j) => setParams({ job: keyOf(j) }, false)}
          card={(j) => <Card j={j} />}
          cardHeight={94}
          empty={
            all.length ? (
              <NoMatch what="jobs" params={['q', 'state', 'only', 'tag']} of={all.length} />
            ) : (
              <Empty
                title="No jobs yet"
                why="Timers and oneshot services appear here when the systemd exporter of a machine is scraped. Other jobs report themselves."
              >
                <button type="button" class="btn" onClick={() => setParams({ add: true }, false)}>
                  Add a job
                </button>
              </Empty>
            )
          }
        />
      </section>
      {open && <Sheet j={open} onClose={() => setParams({ job: null }, false)} />}
      {param('add') !== '' && <AddJob onClose={() => setParams({ add: null }, false)} />}
    </>
  );
}

function Head({ children }: { children?: preact.ComponentChildren }) {
  return (
    <div class="pagehead">
      <h1>Jobs</h1>
      {children}
    </div>
  );
}

const machineOf = (j: Job) => j.machine || 'no machine';
const backupOrNot = (j: Job) => (j.backup ? 'Backups' : 'Other jobs');

// Next is when a job runs next, or for how long it has been overdue.
function Next({ j }: { j: Job }) {
  if (j.overdue && !j.next)
    return (
      <Status level="warn" icon="clock">
        overdue
      </Status>
    );
  const late = j.overdue && j.next ? Math.max(1, second.value - j.next) : undefined;
  return <NextRun u={{ nextRun: j.next ?? undefined, overdue: late }} />;
}

function Result({ j }: { j: Job }) {
  const text = resultText(j);
  if (!text) return <span class="dim">–</span>;
  if (endedWell(j)) return <span>{text}</span>;
  return <Status level="crit">{text}</Status>;
}

const time = (t: number | null): number | undefined => t ?? undefined;

const COLUMNS: Column<Job>[] = [
  {
    id: 'state',
    title: 'State',
    width: '120px',
    sort: (j) => JOB_STATES.indexOf(j.state),
    cell: (j) => <JobState j={j} />,
  },
  {
    id: 'name',
    title: 'Job',
    class: 'ellipsis',
    min: 220,
    sort: (j) => j.backup || j.name,
    cell: (j) => (
      <span title={j.name}>
        <button type="button" class="link" onClick={() => setParams({ job: keyOf(j) }, false)}>
          <b>{j.backup || titleOf(j)}</b>
        </button>{' '}
        <span class="dim">{j.backup && j.backup !== titleOf(j) ? titleOf(j) : KIND[j.kind]}</span>
      </span>
    ),
  },
  {
    id: 'machine',
    title: 'Machine',
    class: 'ellipsis',
    width: '150px',
    sort: (j) => j.machine,
    cell: (j) => (j.machine ? <a href={href(machinePath(j.machine))}>{j.machine}</a> : <span class="dim">–</span>),
  },
  {
    id: 'success',
    title: 'Last success',
    num: true,
    width: '110px',
    sort: (j) => j.lastSuccess ?? 0,
    cell: (j) =>
      isTrouble(j) ? (
        <b>
          <Ago time={time(j.lastSuccess)} />
        </b>
      ) : (
        <Ago time={time(j.lastSuccess)} />
      ),
  },
  {
    id: 'run',
    title: 'Last run',
    num: true,
    width: '100px',
    rank: 2,
    sort: (j) => time(j.lastRun),
    cell: (j) => <Ago time={time(j.lastRun)} />,
  },
  { id: 'result', title: 'Result', width: '150px', rank: 1, sort: resultText, cell: (j) => <Result j={j} /> },
  {
    id: 'duration',
    title: 'Duration',
    num: true,
    width: '96px',
    rank: 3,
    sort: (j) => time(j.duration),
    cell: (j) => seconds(j.duration),
  },
  {
    id: 'usual',
    title: 'Usual duration',
    head: 'Usually',
    num: true,
    width: '120px',
    rank: 5,
    sort: (j) => j.usual?.max,
    cell: (j) => <span class="dim">{usualText(j.usual) || '–'}</span>,
  },
  {
    id: 'next',
    title: 'Next',
    num: true,
    width: '168px',
    rank: 4,
    sort: (j) => time(j.next),
    cell: (j) => <Next j={j} />,
  },
];

function Card({ j }: { j: Job }) {
  const text = resultText(j);
  return (
    <div class="linecard">
      <div class="row nowraprow">
        <b class="grow ellipsis">{j.backup || titleOf(j)}</b>
        <JobState j={j} />
      </div>
      <div class="row nowraprow dim">
        <span class="grow ellipsis">
          {[j.machine, j.backup ? titleOf(j) : KIND[j.kind]].filter(Boolean).join(' · ')}
        </span>
        {j.state === 'failed' && <span class="nowrap">{text}</span>}
      </div>
      <div class="row nowraprow dim">
        <span class="grow nowrap">
          {j.lastSuccess === null ? 'no success yet' : <Ago time={j.lastSuccess} suffix=" ago" />}
        </span>
        <Next j={j} />
      </div>
    </div>
  );
}

function Sheet({ j, onClose }: { j: Job; onClose: () => void }) {
  const unit = j.kind === 'timer' || j.kind === 'service';
  const link = (name: string) => <a href={href('/services', { view: 'units', unit: name, on: j.machine })}>{name}</a>;
  const facts: [string, preact.ComponentChildren][] = [
    ['Machine', j.machine ? <a href={href(machinePath(j.machine))}>{j.machine}</a> : '–'],
    ...(j.backup ? ([['Backup', j.backup]] as [string, string][]) : []),
    [unit ? 'Unit' : 'Job', unit ? link(j.name) : `${j.name} (${KIND[j.kind]})`],
    ...(j.timer ? ([['Started by', link(j.timer)]] as [string, preact.ComponentChildren][]) : []),
    ['Last success', <When time={j.lastSuccess} />],
    ['Last run', <When time={j.lastRun} />],
    ['Result', <Result j={j} />],
    [
      'Duration',
      <>
        {seconds(j.duration)}
        {j.usual && <span class="dim"> usually {usualText(j.usual)}</span>}
      </>,
    ],
    ['Next', <Next j={j} />],
    ...(j.gap ? ([['Interval', `about ${seconds(j.gap)}`]] as [string, string][]) : []),
  ];
  return (
    <Overlay kind="sheet" title={j.backup || titleOf(j)} onClose={onClose}>
      <div class="stack">
        <div class="row">
          <JobState j={j} />
        </div>
        {j.state === 'unknown' && (
          <p class="note">
            Its machine does not respond, the unit is no longer loaded, or its exporter does not say how runs end. The
            times are the last known.
          </p>
        )}
        <dl class="jobfacts">{facts.map(([k, v]) => [<dt key={k}>{k}</dt>, <dd key={`${k} is`}>{v}</dd>])}</dl>
        {j.backup && (
          <p class="dim">A success says that the job ended well. It does not say what the backup contains.</p>
        )}
        {unit && (
          <>
            <p>On {j.machine}:</p>
            <Snippet text={`journalctl -u ${j.name} -e`} />
            {j.timer && <Snippet text={`systemctl list-timers ${j.timer}`} />}
            <Snippet text={`sudo systemctl start ${j.name}`} />
          </>
        )}
      </div>
    </Overlay>
  );
}

function When({ time: t }: { time: number | null }) {
  if (t === null) return <span class="dim">–</span>;
  return (
    <>
      <Ago time={t} suffix=" ago" />{' '}
      <span class="dim">
        <Time time={t} />
      </span>
    </>
  );
}
