// Checks: services looked at from outside. A row is a check; its sheet has the phases of a
// request, the certificate and the log of the last failure.
import { useMemo, useState } from 'preact/hooks';
import { check as fetchCheck, checks as fetchChecks, runCheck } from '../api/checks';
import { queryRange, vector } from '../api/prom';
import type { Check, CheckRun, Place } from '../api/types/checks';
import { Chart } from '../components/Chart';
import { Severity } from '../components/alerts/Severity';
import { Ago, Empty, ErrorNote, LastAnswer, Loading, Overlay, safeLink, Snippet, stale } from '../components/bits';
import { Icon } from '../components/icons';
import { NoMatch } from '../components/NoMatch';
import { Spark } from '../components/Spark';
import { Status, type Level } from '../components/Status';
import { States } from '../components/States';
import { Table, type Column } from '../components/Table';
import {
  CHECK,
  CHECK_STATES,
  checkFits,
  dayLevel,
  daysLeft,
  selectorOfCheck,
  snippets,
  uptimeText,
  whyNot,
  wrongURL,
} from '../lib/checks';
import { seconds } from '../lib/format';
import { quote } from '../lib/quote';
import { date } from '../lib/time';
import { now, serverNow } from '../state/clock';
import { useData } from '../state/data';
import { href, machinePath, param, setParams } from '../state/location';
import { isUTC } from '../state/prefs';
import './checks.css';
import './rules.css';
import { ChangeButton } from '../components/Who';

const LOOK: Record<Check['state'], { level: Level; icon?: string }> = {
  failing: { level: 'crit' },
  'failed once': { level: 'warn' },
  'not run': { level: 'warn', icon: 'wait' },
  unknown: { level: 'off', icon: 'wait' },
  ok: { level: 'ok' },
};

const DAYS = 90;
const DAY = 86400;
const unix = (text: string | undefined): number | undefined => {
  const t = Date.parse(text ?? '') / 1000;
  return t > 0 ? t : undefined;
};

export default function ChecksPage() {
  const list = useData('checks', fetchChecks);
  const past = usePast(!!list.data?.length);
  const [text, state] = [param('q'), param('state')];
  const rows = useMemo(() => (list.data ?? []).filter((c) => checkFits(c, text, state)), [list.data, text, state]);
  const columns = useMemo(() => columnsOf(past.sparks, past.days), [past.sparks, past.days]);
  const open = (list.data ?? []).find((c) => c.name === param('check'));
  if (!list.data && !list.error)
    return (
      <>
        <Head />
        <Loading lines={5} />
      </>
    );
  const all = list.data ?? [];
  return (
    <>
      <Head>
        {all.length > 0 && (
          <input
            class="field"
            type="search"
            aria-label="Filter checks"
            placeholder="Filter: name, URL, machine"
            value={text}
            onInput={(e) => setParams({ q: e.currentTarget.value })}
          />
        )}
        <button type="button" class="btn" onClick={() => setParams({ add: true }, false)}>
          <Icon name="plus" />
          Add a check
        </button>
        <LastAnswer time={list.time} />
      </Head>
      <ErrorNote error={list.error} what={list.data ? stale(list.time) : 'The checks could not be loaded'} />
      {all.length > 0 && (
        <States
          label="States of checks"
          all={CHECK_STATES.map((s) => ({
            id: s,
            n: all.filter((c) => c.state === s).length,
            level: LOOK[s].level,
            icon: LOOK[s].icon ?? LOOK[s].level,
            word: s === 'ok' ? 'OK' : CHECK[s].toLowerCase(),
          }))}
          chosen={(s) => state === s}
          onChoose={(s) => setParams({ state: state === s ? null : s }, false)}
        />
      )}
      <section class={`panel${list.error ? ' stale' : ''}`}>
        <Table
          label="Checks"
          pagewide
          fixed
          rows={rows}
          columns={columns}
          rowKey={(c) => c.name}
          defaultSort="state"
          onOpen={(c) => setParams({ check: c.name }, false)}
          card={(c) => <Card c={c} days={past.days.get(c.name)} />}
          empty={
            all.length ? (
              <NoMatch what="checks" params={['q', 'state']} of={all.length} />
            ) : (
              <Empty
                title="No checks yet"
                why="A check looks at a service from outside: a site and its certificate, a mail server, a port, a name, or ping."
              >
                <button type="button" class="btn" onClick={() => setParams({ add: true }, false)}>
                  Add a check
                </button>
              </Empty>
            )
          }
        />
      </section>
      {open && <Sheet c={open} days={past.days.get(open.name)} onClose={() => setParams({ check: null }, false)} />}
      {param('add') !== '' && <AddCheck onClose={() => setParams({ add: null }, false)} />}
    </>
  );
}

function Head({ children }: { children?: preact.ComponentChildren }) {
  return (
    <div class="pagehead">
      <h1>Checks</h1>
      {children}
    </div>
  );
}

type Values = Map<string, (number | null)[]>;

// usePast reads the response times of six hours and the 90 days of all checks at once.
function usePast(any: boolean): { sparks: Values; days: Values } {
  const grid = (step: number, points: number, next: boolean) => {
    const end = (Math.floor(serverNow() / step) + (next ? 1 : 0)) * step;
    return { start: end - (points - 1) * step, end, step, points };
  };
  const read = async (
    expr: string,
    step: number,
    points: number,
    signal: AbortSignal,
    next = false,
  ): Promise<Values> => {
    const g = grid(step, points, next);
    const out: Values = new Map();
    for (const s of await queryRange(expr, g.start, g.end, step, signal)) {
      const values: (number | null)[] = Array.from({ length: points }, () => null);
      for (const [t, v] of s.values ?? []) values[Math.round((t - g.start) / step)] = Number(v);
      out.set(s.metric.check ?? '', values);
    }
    return out;
  };
  const sparks = useData(
    any ? 'check durations' : null,
    (s) => read('avg by (check) (avg_over_time(probe_duration_seconds{job="blackbox",check!=""}[15m]))', 900, 24, s),
    60,
  );
  const days = useData(
    any ? 'check days' : null,
    // The value at a midnight is of the day before; the last one is of today so far.
    (s) => read('avg by (check) (avg_over_time(check:success:ratio1h[1d]))', DAY, DAYS, s, true),
    600,
  );
  return { sparks: sparks.data ?? new Map(), days: days.data ?? new Map() };
}

function Days({ values, name }: { values: (number | null)[] | undefined; name: string }) {
  const today = Math.floor(serverNow() / DAY) * DAY;
  const known = (values ?? []).filter((v) => v !== null).length;
  return (
    <div class="days" role="img" aria-label={`Uptime of ${name} by day, ${known} days known`}>
      {Array.from({ length: DAYS }, (_, i) => {
        const v = values?.[i] ?? null;
        const day = date(today - (DAYS - 1 - i) * DAY, isUTC());
        return <span key={i} class={dayLevel(v)} title={`${day}: ${v === null ? 'no data' : uptimeText(v)}`} />;
      })}
    </div>
  );
}

function State({ c }: { c: Place }) {
  const l = LOOK[c.state];
  return (
    <Status level={l.level} icon={l.icon ?? l.level}>
      {CHECK[c.state]}
    </Status>
  );
}

function Certificate({ c }: { c: Check }) {
  const left = daysLeft(c, now.value);
  if (left === undefined) return <span class="dim">–</span>;
  const level: Level = left < 3 ? 'crit' : left < c.certificateDays ? 'warn' : 'ok';
  const words = left < 0 ? 'expired' : `${Math.floor(left)} d`;
  return level === 'ok' ? <span>{words}</span> : <Status level={level}>{words}</Status>;
}

function columnsOf(sparks: Values, days: Values): Column<Check>[] {
  return [
    {
      id: 'state',
      title: 'State',
      width: '132px',
      sort: (c) => CHECK_STATES.indexOf(c.state),
      cell: (c) => <State c={c} />,
    },
    {
      id: 'name',
      title: 'Check',
      class: 'ellipsis',
      min: 200,
      sort: (c) => c.name,
      cell: (c) => (
        <>
          <button type="button" class="link" onClick={() => setParams({ check: c.name }, false)}>
            <b>{c.name}</b>
          </button>{' '}
          <span class="dim" title={whyNot(c) || c.url}>
            {whyNot(c) || c.url}
          </span>
        </>
      ),
    },
    {
      id: 'since',
      title: 'Since',
      num: true,
      width: '90px',
      rank: 2,
      sort: (c) => unix(c.since) ?? 0,
      cell: (c) => <Ago time={unix(c.since)} />,
    },
    {
      id: 'duration',
      title: 'Response',
      num: true,
      width: '96px',
      sort: (c) => c.duration,
      cell: (c) => (c.state === 'unknown' || c.state === 'not run' ? <span class="dim">–</span> : seconds(c.duration)),
    },
    {
      id: 'spark',
      title: 'Last 6 h',
      width: '96px',
      rank: 3,
      cell: (c) => <Spark values={sparks.get(c.name)} label={`Response time of ${c.name} over 6 hours`} />,
    },
    {
      id: 'certificate',
      title: 'Certificate',
      num: true,
      width: '106px',
      rank: 1,
      sort: (c) => daysLeft(c, now.value) ?? Infinity,
      cell: (c) => <Certificate c={c} />,
    },
    {
      id: 'day',
      title: '24 h',
      num: true,
      width: '78px',
      sort: (c) => c.uptime.day ?? 2,
      cell: (c) => uptimeText(c.uptime.day),
    },
    {
      id: 'month',
      title: '30 d',
      num: true,
      width: '78px',
      rank: 2,
      sort: (c) => c.uptime.month ?? 2,
      cell: (c) => uptimeText(c.uptime.month),
    },
    {
      id: 'days',
      title: '90 days',
      width: '290px',
      rank: 4,
      cell: (c) => <Days values={days.get(c.name)} name={c.name} />,
    },
  ];
}

function Card({ c, days }: { c: Check; days: (number | null)[] | undefined }) {
  return (
    <div class="checkcard">
      <div class="row checkline">
        <b class="grow ellipsis">{c.name}</b>
        <State c={c} />
      </div>
      <div class="row dim">
        <span class="grow ellipsis">{whyNot(c) || c.url}</span>
        <span>{uptimeText(c.uptime.day)}</span>
      </div>
      <Days values={days} name={c.name} />
    </div>
  );
}

function Sheet({ c, days, onClose }: { c: Check; days: (number | null)[] | undefined; onClose: () => void }) {
  const full = useData(`check ${c.name}`, (s) => fetchCheck(c.name, s));
  const [run, setRun] = useState<CheckRun | 'running' | Error>();
  const several = c.places.length > 1;
  const [chosen, choose] = useState('');
  const from = c.places.some((p) => p.from === chosen) ? chosen : c.from;
  const link = /^https?:/.test(c.url) ? safeLink(c.url) : undefined;
  const s = `${selectorOfCheck(c)}${several ? `,from=${quote(from)}` : ''}`;
  const chain = useData(
    `chain ${c.name} ${from}`,
    (signal) => vector(`probe_ssl_last_chain_info{${s}}`, undefined, signal),
    60,
  );
  const failure = full.data?.places.find((p) => p.from === from)?.lastFailure;
  const start = () => {
    setRun('running');
    runCheck(c.name, from).then(setRun, (e: Error) => setRun(e));
  };
  const certificate = chain.data?.[0]?.metric;
  return (
    <Overlay kind="sheet" wide title={c.name} onClose={onClose}>
      <div class="stack">
        <div class="row">
          <State c={c} />
          <Severity severity={c.severity} />
          <span class="grow" />
          <ChangeButton type="button" class="btn" disabled={run === 'running'} onClick={start}>
            <Icon name="play" />
            {run === 'running' ? 'Running…' : several ? `Run from ${from}` : 'Run now'}
          </ChangeButton>
        </div>
        {c.why && <p class="note crit">{whyNot(c)}</p>}
        {several && <Places c={c} from={from} choose={choose} />}
        {run instanceof Error && <ErrorNote error={run} what="The check could not be run" />}
        {run && run !== 'running' && !(run instanceof Error) && (
          <>
            <p class={`note ${run.ok ? '' : 'crit'}`} role="status">
              {run.ok ? `Succeeded in ${seconds(run.duration)}` : `Failed: ${run.why}`}
            </p>
            <pre class="checklog">{run.log}</pre>
          </>
        )}
        <dl class="checkfacts">
          <dt>URL</dt>
          <dd>
            {link ? (
              <a href={link} target="_blank" rel="noreferrer">
                {c.url}
              </a>
            ) : (
              c.url
            )}
          </dd>
          {c.machine && (
            <>
              <dt>Machine</dt>
              <dd>
                <a href={href(machinePath(c.machine))}>{c.machine}</a>
              </dd>
            </>
          )}
          <dt>Checked</dt>
          <dd>
            <Ago time={unix(c.checked)} suffix=" ago" /> from {several ? `${c.places.length} machines` : c.from}, every{' '}
            {seconds(c.every)}
          </dd>
          <dt>Uptime</dt>
          <dd>
            {uptimeText(c.uptime.day)} in 24 h, {uptimeText(c.uptime.month)} in 30 d, {uptimeText(c.uptime.quarter)} in
            90 d
          </dd>
          {c.certificateExpires && (
            <>
              <dt>Certificate</dt>
              <dd>
                expires {date(unix(c.certificateExpires) ?? 0, isUTC())}
                {certificate?.subject && `, ${certificate.subject}`}
                {certificate?.issuer && `, issued by ${certificate.issuer}`}
              </dd>
            </>
          )}
        </dl>
        <Days values={days} name={c.name} />
        <Chart
          title={several ? `Response time from ${from}` : 'Response time'}
          level={3}
          unit="seconds"
          min={0}
          stack
          scrape={c.every}
          queries={[
            { expr: `sum by (phase) (probe_http_duration_seconds{${s}})`, name: (l) => l.phase ?? null },
            { expr: `sum by (phase) (probe_icmp_duration_seconds{${s}})`, name: (l) => l.phase ?? null },
            { expr: `sum by (phase) (probe_dns_duration_seconds{${s}})`, name: (l) => l.phase ?? null },
            {
              expr: `max by (check) (probe_duration_seconds{${s}}) unless on (check) (probe_http_duration_seconds{${s}} or probe_icmp_duration_seconds{${s}} or probe_dns_duration_seconds{${s}})`,
              name: () => 'total',
            },
          ]}
        />
        <Chart
          title="Success"
          level={3}
          unit="ratio"
          min={0}
          max={1}
          height={90}
          scrape={c.every}
          queries={[
            {
              expr: `avg_over_time(probe_success{${selectorOfCheck(c)}}[$step])`,
              name: (l) => `from ${l.from ?? c.from}`,
            },
          ]}
        />
        {failure && (
          <>
            <h3>
              Last failure{several && ` from ${from}`} <Ago time={unix(failure.at)} suffix=" ago" />
            </h3>
            <p>{failure.why}</p>
            {failure.log && <pre class="checklog">{failure.log}</pre>}
          </>
        )}
      </div>
    </Overlay>
  );
}

// Places compares the machines that run a check. The chosen one is the one that the charts show.
function Places({ c, from, choose }: { c: Check; from: string; choose: (from: string) => void }) {
  return (
    <table class="checkplaces">
      <thead>
        <tr>
          {['From', 'State', 'Since', 'Response', '24 h', '30 d'].map((h) => (
            <th key={h} scope="col">
              {h}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {c.places.map((p) => (
          <tr key={p.from} aria-current={p.from === from}>
            <th scope="row">
              <button type="button" class="link" aria-pressed={p.from === from} onClick={() => choose(p.from)}>
                {p.from}
              </button>
            </th>
            <td>
              <State c={p} />
              {p.why && <div class="dim">{p.why}</div>}
            </td>
            <td>
              <Ago time={unix(p.since)} />
            </td>
            <td>{p.state === 'unknown' || p.state === 'not run' ? '–' : seconds(p.duration)}</td>
            <td>{uptimeText(p.uptime.day)}</td>
            <td>{uptimeText(p.uptime.month)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

// AddCheck shows what to write where: checks come from settings alone.
function AddCheck({ onClose }: { onClose: () => void }) {
  const [url, setURL] = useState('');
  const [name, setName] = useState('');
  const s = snippets(name, url);
  const wrong = wrongURL(url);
  return (
    <Overlay kind="dialog" title="Add a check" onClose={onClose}>
      <div class="stack">
        <label class="stack">
          URL
          <input
            class="field"
            data-autofocus
            placeholder="https://cloud.example.org"
            value={url}
            aria-invalid={wrong !== ''}
            onInput={(e) => setURL(e.currentTarget.value.trim())}
          />
        </label>
        {wrong && <p class="note">{wrong}</p>}
        <label class="stack">
          Name, optional
          <input class="field" value={name} onInput={(e) => setName(e.currentTarget.value.replace(/[^\w.:-]/g, ''))} />
        </label>
        <p>Restart the server with this flag:</p>
        <Snippet text={s.flag} />
        <p>Or add it to the file of --clan.settings and reload the server:</p>
        <Snippet text={s.settings} />
        <p>Or in NixOS, in the options of the server:</p>
        <Snippet text={s.nix} />
      </div>
    </Overlay>
  );
}
