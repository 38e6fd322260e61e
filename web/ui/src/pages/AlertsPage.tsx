// Alerts: what fires, will fire, is silenced, and has fired.
import { useMemo, useState } from 'preact/hooks';
import { receivers as fetchReceivers, silences as fetchSilences, watchdog as fetchWatchdog } from '../api/clanmon';
import { queryRange, vector } from '../api/prom';
import type { Matcher, Notifications, ReceiverState, Silence } from '../api/types/alerts';
import type { Labels, MatrixSeries } from '../api/types/query';
import { DayStrip, FiredSheet, NOT_FIRED } from '../components/alerts/DayStrip';
import { AlertSheet, chartOf, FiresIn, useNotifications, type AlertActions } from '../components/alerts/AlertSheet';
import { NotificationsCard } from '../components/alerts/NotificationsCard';
import { Severity } from '../components/alerts/Severity';
import { SilenceForm } from '../components/alerts/SilenceForm';
import { useAlertRules, useAlerts, useInhibitors } from '../components/alerts/useAlerts';
import {
  Ago,
  Empty,
  ErrorNote,
  LastAnswer,
  Loading,
  Menu,
  outside,
  safeLink,
  Snippet,
  Time,
  stale,
} from '../components/bits';
import { Icon } from '../components/icons';
import { NoMatch } from '../components/NoMatch';
import { Status, severityLevel } from '../components/Status';
import { Table } from '../components/Table';
import { useCurrentInView } from '../components/Tabs';
import { Timeline } from '../components/Timeline';
import { matcher } from '../lib/alertMatchers';
import {
  builtinRunbook,
  exprOf,
  firesAt,
  grouped,
  ofTag,
  historyOf,
  historyQuery,
  integrationName,
  passes,
  reachesNobody,
  runbookOf,
  SEVERITIES,
  telling,
  type AlertRow,
  type HistoryGrid,
  type Group,
  type HistoryRow,
  type State,
} from '../lib/alerts';
import type { AlertRule, AlertRuleGroup } from '../api/types/alerts';
import { ago, format } from '../lib/format';
import { doubts } from '../lib/looked';
import { prefilled } from '../lib/silences';
import { stepFor } from '../lib/time';
import { FAILING, NOT_SENT } from '../lib/words';
import { frozen, range, second, setRelative } from '../state/clock';
import { useData } from '../state/data';
import { useFleet } from '../state/fleet';
import { useNotKept } from '../state/kept';
import { useKeys } from '../state/keys';
import { href, hereWith, location, machinePath, param, setParams, tagFilter } from '../state/location';
import '../components/services/services.css';
import './alerts.css';
import { ChangeButton } from '../components/Who';

const TABS = [
  ['firing', 'Firing'],
  ['pending', 'Pending'],
  ['silenced', 'Silenced'],
  ['history', 'History'],
] as const;

// step moves the focus from alert to alert; Enter then opens it.
function step(by: number): void {
  const links = [...document.querySelectorAll<HTMLElement>('.alertrow a.open')];
  const at = links.findIndex((l) => l.closest('.alertrow')?.contains(document.activeElement));
  links[at < 0 ? 0 : Math.min(links.length - 1, Math.max(0, at + by))]?.focus();
}

interface Making {
  matchers: Matcher[];
  labels?: Labels;
}

export default function AlertsPage() {
  const { rows, loaded, delivered, error, time } = useAlerts();
  // Prometheus' page has search, and state, several times perhaps.
  const states = location.value.params.getAll('state');
  const tab =
    TABS.find(([id]) => id === param('tab'))?.[0] ??
    (states.includes('pending') && !states.includes('firing') ? 'pending' : 'firing');
  const bar = useCurrentInView(tab);
  const text = param('q') || param('search');
  const severity = param('severity');
  const by = param('group') === 'machine' ? 'machine' : 'alert';
  const tag = tagFilter.value;
  const fleet = useFleet(tag !== '').rows;
  const tagged = useMemo(
    () => new Set((fleet ?? []).filter((m) => tag && m.tags?.includes(tag)).map((m) => m.name)),
    [fleet, tag],
  );
  const [making, setMaking] = useState<Making | undefined>();
  const told = useNotifications();
  const silences = useData(delivered && rows.some((r) => r.silencedBy.length) ? 'silences' : null, fetchSilences);
  const receivers = useData(delivered ? 'receivers' : null, fetchReceivers);

  const filtered = useMemo(
    () => rows.filter((r) => ofTag(r, tag, tagged) && passes(r, text)),
    [rows, tag, tagged, text],
  );
  const groupsOfRules = useAlertRules();
  const rules = useMemo(() => (groupsOfRules.data ?? []).flatMap((g) => g.rules), [groupsOfRules.data]);
  const inhibitors = useInhibitors(rows);
  const fits = (r: AlertRow) => !severity || r.severity === severity;
  const count = (s: State) => filtered.filter((r) => r.state === s && fits(r)).length;
  const here = filtered.filter((r) => r.state === tab);
  const shown = here.filter(fits);
  const groups = useMemo(() => grouped(shown, by), [filtered, tab, severity, by]);
  // Links in notifications name the alert too, for when it has ended.
  const [key, ...named] = param('alert').split(' ');
  const open = rows.find((r) => r.key === key);
  useKeys([
    { keys: 'j', what: 'Next alert', run: () => step(1) },
    { keys: 'k', what: 'Previous alert', run: () => step(-1) },
  ]);
  const actions: AlertActions = {
    silence: (r) => setMaking({ matchers: prefilled(r.labels), labels: r.labels }),
    mute: (r) => setMaking({ matchers: [matcher('machine', r.machine)] }),
    muteRule: (r) => setMaking({ matchers: [matcher('alertname', r.name)] }),
  };

  return (
    <>
      <div class="pagehead">
        <h1>Alerts</h1>
        <LastAnswer time={time} />
        <span class="grow" />
        <a class="btn" href={href('/silences')}>
          <Icon name="silence" />
          Silences
        </a>
        <ChangeButton type="button" class="btn wide" onClick={() => setMaking({ matchers: [] })}>
          <Icon name="plus" />
          New silence
        </ChangeButton>
      </div>
      <nav class="tabs" ref={bar} aria-label="States of alerts">
        {TABS.map(([id, title]) => (
          <a
            key={id}
            href={hereWith({ tab: id === 'firing' ? null : id, state: null, alert: null, sort: null })}
            aria-current={tab === id ? 'page' : undefined}
          >
            {title}
            {id !== 'history' && count(id) > 0 && (
              <span
                class={`count ${id !== 'firing' ? '' : filtered.some((r) => r.state === 'firing' && r.severity === 'critical') ? 'crit' : 'warn'}`}
              >
                {count(id)}
              </span>
            )}
          </a>
        ))}
      </nav>
      <div class="row alertfilters">
        <input
          class="field"
          type="search"
          aria-label="Filter alerts"
          placeholder="Filter: name, machine, label=value"
          value={text}
          onInput={(e) => setParams({ q: e.currentTarget.value, search: null })}
        />
        {tab !== 'history' && (
          <>
            <span class="group" role="group" aria-label="Group by">
              <button
                type="button"
                class="btn"
                aria-pressed={by === 'alert'}
                onClick={() => setParams({ group: null }, false)}
              >
                By alert
              </button>
              <button
                type="button"
                class="btn"
                aria-pressed={by === 'machine'}
                onClick={() => setParams({ group: 'machine' }, false)}
              >
                By machine
              </button>
            </span>
            <SeverityChips rows={here} severity={severity} />
          </>
        )}
      </div>
      {frozen.value && tab !== 'history' && (
        <p class="note">
          These are the current alerts. For the selected range, see <a href={hereWith({ tab: 'history' })}>History</a>.
        </p>
      )}
      {states.includes('inactive') && !param('tab') && (
        <p class="note">
          Inactive rules are listed under <a href={href('/rules', { type: 'alerting', state: 'ok' })}>Rules</a>.
        </p>
      )}
      {key && loaded && !open && !making && (
        <p class="note" role="status">
          {named.filter(Boolean).join(' on ') || 'This alert'} is not firing.{' '}
          <a href={hereWith({ alert: null, tab: 'history', q: named.filter(Boolean).join(' ') || null })}>History</a>{' '}
          shows when it fired.
        </p>
      )}
      <ErrorNote error={error} what={loaded ? stale(time) : 'The alerts could not be loaded'} />
      <div class="alertsgrid">
        <div class={`stack alertsmain${error && loaded ? ' stale' : ''}`}>
          {tab === 'history' ? (
            <History text={text} tag={tag} tagged={tagged} now={loaded ? rows : undefined} />
          ) : !loaded ? (
            !error && <Loading lines={5} />
          ) : groups.length ? (
            <Groups
              groups={groups}
              by={by}
              told={told.data}
              receivers={receivers.data}
              silences={silences.data}
              rules={rules}
              inhibitors={inhibitors}
              actions={actions}
              onMute={setMaking}
            />
          ) : text !== '' || tag !== '' || severity !== '' ? (
            <Filtered />
          ) : tab === 'firing' ? (
            <NothingFires
              groups={groupsOfRules.data}
              error={groupsOfRules.error}
              delivered={delivered}
              pending={rows.filter((x) => x.state === 'pending').length}
              time={time}
            />
          ) : (
            <Nothing tab={tab} />
          )}
        </div>
        <div class="alertside">
          {tab !== 'history' && <DayStrip />}
          <NotificationsCard />
        </div>
      </div>
      {!open && !making && param('fired') && (
        <FiredSheet
          rows={rows}
          rules={rules}
          inhibitors={inhibitors}
          silences={silences.data}
          told={told.data}
          actions={actions}
        />
      )}
      {open && !making && (
        <AlertSheet
          r={open}
          inhibitors={inhibitors}
          silences={silences.data}
          told={told.data}
          onClose={() => setParams({ alert: null })}
          actions={actions}
        />
      )}
      {making && (
        <SilenceForm
          {...making}
          onClose={() => setMaking(undefined)}
          onDone={() => (param('alert') || param('fired')) && setParams({ alert: null, ...NOT_FIRED })}
        />
      )}
    </>
  );
}

function SeverityChips({ rows, severity }: { rows: { severity: string }[]; severity: string }) {
  const of = (s: string) => rows.filter((r) => r.severity === s).length;
  const all = [...SEVERITIES, ...new Set(rows.map((r) => r.severity).filter((s) => s && !SEVERITIES.includes(s)))];
  return (
    <span class="whys" role="group" aria-label="Filter by severity">
      {all
        .filter((s) => s === severity || of(s) > 0)
        .map((s) => (
          <button
            type="button"
            key={s}
            class={`problem ${severityLevel(s) === 'info' ? 'info' : severityLevel(s)}`}
            aria-pressed={severity === s}
            onClick={() => setParams({ severity: severity === s ? null : s }, false)}
          >
            <Icon name={severityLevel(s)} />
            <b>{of(s)}</b> {s}
          </button>
        ))}
    </span>
  );
}

const MANY = 60; // groups, and rows of a group, that are drawn at once
const FEW = 12;

interface RowContext {
  told: Notifications | undefined;
  receivers: ReceiverState[] | undefined;
  silences: Silence[] | undefined;
  rules: AlertRule[];
  inhibitors: ReadonlyMap<string, AlertRow | string>;
  actions: AlertActions;
}

function Groups({
  groups,
  by,
  onMute,
  ...c
}: { groups: Group[]; by: 'alert' | 'machine'; onMute: (m: Making) => void } & RowContext) {
  const [most, setMost] = useState(MANY);
  return (
    <>
      {groups.slice(0, most).map((g) => (
        <GroupPanel key={g.name} g={g} by={by} onMute={onMute} {...c} />
      ))}
      {groups.length > most && (
        <button type="button" class="btn" onClick={() => setMost(most + MANY)}>
          Show {Math.min(MANY, groups.length - most)} more of {groups.length} groups
        </button>
      )}
    </>
  );
}

function GroupPanel({
  g,
  by,
  onMute,
  ...c
}: { g: Group; by: 'alert' | 'machine'; onMute: (m: Making) => void } & RowContext) {
  const [most, setMost] = useState(FEW);
  const first = g.rows[0]!;
  const matchers =
    by === 'alert'
      ? [matcher('alertname', g.name)]
      : first.machine
        ? [matcher('machine', first.machine)]
        : first.where
          ? [matcher('instance', first.where)]
          : prefilled(first.labels);
  return (
    <section class="panel alertgroup" aria-label={g.name || 'no machine'}>
      <header>
        <Severity severity={g.severity} short />
        <h2>
          {by === 'machine' && first.machine ? (
            <a href={href(machinePath(first.machine))}>{g.name}</a>
          ) : (
            g.name || <span class="dim">no machine</span>
          )}
        </h2>
        <span class="dim">
          {g.rows.length}
          <span class="wide"> {g.rows.length === 1 ? 'alert' : 'alerts'}</span>
        </span>
        <ChangeButton
          type="button"
          class="btn plain"
          title={`Silence all of ${g.name}`}
          aria-label={`Silence all of ${g.name}`}
          onClick={() => onMute({ matchers })}
        >
          <Icon name="silence" />
          <span class="wide">Silence{g.rows.length > 1 && ' all'}</span>
        </ChangeButton>
      </header>
      <ul>
        {g.rows.slice(0, most).map((r) => (
          <Row key={r.key} r={r} by={by} {...c} />
        ))}
      </ul>
      {g.rows.length > most && (
        <button type="button" class="btn plain showmore" onClick={() => setMost(most + MANY)}>
          Show {Math.min(MANY, g.rows.length - most)} more of {g.rows.length}
        </button>
      )}
    </section>
  );
}

function Row({
  r,
  by,
  told,
  receivers,
  silences,
  rules,
  inhibitors,
  actions,
}: { r: AlertRow; by: 'alert' | 'machine' } & RowContext) {
  const expr = exprOf(r.generatorURL);
  const builtin = builtinRunbook(r);
  const runbook = builtin ? href(builtin) : safeLink(runbookOf(r.annotations));
  const title = by === 'machine' ? r.name : r.where || r.name;
  const open = hereWith({ alert: r.key });
  return (
    <li
      class="alertrow"
      onClick={(e) => {
        if (!(e.target as Element).closest('a,button,.menu') && !window.getSelection()?.toString())
          (e.currentTarget.querySelector('a.open') as HTMLElement | null)?.click();
      }}
    >
      <span class="sev">
        <Severity severity={r.severity} />
      </span>
      <span class="what">
        <span class="line1">
          <a class="open" href={open}>
            {title}
          </a>
          {telling(r.labels)
            .slice(0, 3)
            .map(([k, v]) => (
              <span class="chip" key={k} title={`${k}=${v}`}>
                <span class="ellipsis">{v}</span>
              </span>
            ))}
        </span>
        {r.annotations.summary && <span class="summary">{r.annotations.summary}</span>}
      </span>
      <span class="value num" title={r.value === undefined ? undefined : `Value of the expression: ${r.value}`}>
        {r.value === undefined ? <span class="dim">–</span> : format(r.value)}
      </span>
      <span class="since num">
        <Ago time={r.since} />
      </span>
      <span class="told">
        {r.state === 'silenced' ? (
          <MutedBy r={r} inhibitors={inhibitors} silences={silences} />
        ) : r.state === 'pending' ? (
          <FiresIn at={firesAt(r, rules)} />
        ) : (
          <Told r={r} told={told} receivers={receivers} />
        )}
      </span>
      <span class="acts">
        <button
          type="button"
          class="btn icon plain"
          title="Silence"
          aria-label={`Silence ${r.name} ${r.where}`}
          onClick={() => actions.silence(r)}
        >
          <Icon name="silence" />
        </button>
        <Menu icon="more" title="More">
          {(close) => (
            <>
              <button
                type="button"
                onClick={() => {
                  close();
                  actions.silence(r);
                }}
              >
                <Icon name="silence" />
                Silence this alert
              </button>
              {r.machine && (
                <button
                  type="button"
                  onClick={() => {
                    close();
                    actions.mute(r);
                  }}
                >
                  <Icon name="fleet" />
                  Mute {r.machine}
                </button>
              )}
              {expr && (
                <a href={chartOf(expr)} onClick={close}>
                  <Icon name="chart" />
                  Open chart
                </a>
              )}
              {runbook && (
                <a href={runbook} {...(!builtin && outside)} onClick={close}>
                  <Icon name="link" />
                  Open runbook
                </a>
              )}
              {r.machine && (
                <a href={href(machinePath(r.machine))} onClick={close}>
                  <Icon name="fleet" />
                  Open {r.machine}
                </a>
              )}
            </>
          )}
        </Menu>
      </span>
    </li>
  );
}

// Told says where an alert was sent, and when.
function Told({
  r,
  told,
  receivers,
}: {
  r: AlertRow;
  told: Notifications | undefined;
  receivers: ReceiverState[] | undefined;
}) {
  const all = told?.[r.key] ?? [];
  const sent = all.filter((s) => !reachesNobody(s.integration));
  const bad = (receivers ?? []).filter(
    (x) => r.receivers.includes(x.receiver) && x.lastFailure && (!x.lastSuccess || x.lastFailure > x.lastSuccess),
  );
  if (sent.length) {
    const last = Math.max(...sent.map((s) => Date.parse(s.at))) / 1000;
    const title = [
      ...sent.map((s) => `${s.receiver} by ${integrationName(s.integration)}`),
      ...bad.map((x) => `${x.receiver} by ${integrationName(x.integration)} is failing`),
    ].join('\n');
    return (
      <span title={title}>
        <Status level={bad.length ? 'warn' : 'ok'}>{[...new Set(sent.map((s) => s.receiver))].join(', ')}</Status>{' '}
        <span class="dim">
          <Ago time={last} suffix=" ago" />
        </span>
      </span>
    );
  }
  if (all.length) return <span class="dim">{NOT_SENT}</span>;
  const to = r.receivers.filter((n) => receivers?.some((x) => x.receiver === n && !reachesNobody(x.integration)));
  if (r.receivers.length && receivers && !to.length) return <span class="dim">{NOT_SENT}</span>;
  if (!r.receivers.length) return <span class="dim">–</span>;
  return bad.length ? (
    <Status level="crit">
      {to.join(', ')} {FAILING}
    </Status>
  ) : (
    <span class="dim">{told ? `sending to ${to.join(', ')}…` : `to ${to.join(', ')}`}</span>
  );
}

function MutedBy({
  r,
  inhibitors,
  silences,
}: {
  r: AlertRow;
  inhibitors: ReadonlyMap<string, AlertRow | string>;
  silences: Silence[] | undefined;
}) {
  const id = r.silencedBy[0];
  if (id) {
    const s = silences?.find((x) => x.id === id);
    return (
      <a href={href('/silences', { silence: id })} title={s?.comment}>
        {s ? (
          <>
            by {s.createdBy || 'somebody'} until <Time time={Date.parse(s.endsAt) / 1000} />
          </>
        ) : (
          'by a silence'
        )}
      </a>
    );
  }
  if (r.inhibitedBy.length) {
    const o = inhibitors.get(r.inhibitedBy[0]!);
    return (
      <span class="intext">
        muted by {o && typeof o === 'object' ? <a href={hereWith({ alert: o.key })}>{o.name}</a> : o || 'another alert'}
      </span>
    );
  }
  if (r.mutedBy.length) return <span>muted by {r.mutedBy.join(', ')}</span>;
  return <span class="dim">–</span>;
}

const FILTER = ['q', 'search', 'severity', 'tag'];

function Filtered() {
  return (
    <div class="panel">
      <NoMatch what="alerts" params={FILTER} />
    </div>
  );
}

function Nothing({ tab }: { tab: State }) {
  return (
    <div class="panel">
      {tab === 'pending' ? (
        <Empty
          title="No pending alerts"
          why="Alerts are pending until their condition has held for the time that the rule requires."
        />
      ) : (
        <Empty
          title="Nothing is silenced"
          why="Lists alerts that are not sent: silenced, inhibited by another alert, or muted by a time interval."
        />
      )}
    </div>
  );
}

// How many targets respond: no answer where no sample is younger than five minutes.
const RESPONDING = 'count(up == 1) or 0 * count(up) or count(target_info)';

// NothingFires is green only where rules look at fresh samples of every machine.
function NothingFires({
  groups,
  error,
  delivered,
  pending,
  time,
}: {
  groups: AlertRuleGroup[] | undefined;
  error: Error | undefined;
  delivered: boolean;
  pending: number;
  time: number;
}) {
  const up = useData('responding', (s) => vector(RESPONDING, undefined, s));
  const dog = useData(delivered ? 'watchdog' : null, fetchWatchdog, 60);
  const { rows: fleet } = useFleet();
  const failed = error ?? up.error;
  if (!groups || !up.data)
    return failed ? <ErrorNote error={failed} what="The rules could not be loaded" /> : <Loading />;
  const all = doubts({
    groups,
    responding: up.data.length ? Number(up.data[0]!.value?.[1]) : undefined,
    fleet,
    now: second.value,
  });
  if (all.length) {
    const soon = all.every((d) => d.soon);
    const flag = all.find((d) => d.flag)?.flag;
    const pages = all.flatMap((d) => (d.page ? [d.page] : []));
    return (
      <div class="panel">
        <Empty
          icon={soon ? 'wait' : 'warn'}
          title={
            soon
              ? 'Nothing is firing yet'
              : groups.length
                ? 'Nothing is firing, but not everything is monitored'
                : 'No alerting rules'
          }
          why={all.map((d) => (
            <span class="doubt" key={d.text}>
              {d.text}
            </span>
          ))}
        >
          {flag && <Snippet text={flag} />}
          <span class="row">
            {pages
              .filter((p, i) => pages.findIndex((x) => x.title === p.title) === i)
              .map((p) => (
                <a class="btn" key={p.title} href={href(p.path, p.params)}>
                  {p.title}
                </a>
              ))}
          </span>
        </Empty>
      </div>
    );
  }
  return (
    <div class="panel">
      <Empty
        icon="ok"
        title={<span class="status ok">Nothing is firing</span>}
        why={
          <>
            Checked <Ago time={time} suffix=" ago" />.{!!dog.data?.length && ' The alerting pipeline is working.'}
          </>
        }
      >
        {pending > 0 && (
          <a class="btn" href={hereWith({ tab: 'pending' })}>
            {pending} pending
          </a>
        )}
      </Empty>
    </div>
  );
}

interface Past extends HistoryGrid {
  series: MatrixSeries[];
}

function History({
  text,
  tag,
  tagged,
  now,
}: {
  text: string;
  tag: string;
  tagged: ReadonlySet<string>;
  now: AlertRow[] | undefined;
}) {
  const r = range.value;
  const past = useData<Past>(`alerts history ${r.relative ?? `${r.from} ${r.to}`}`, async (s) => {
    const { from, to } = range.value;
    const step = stepFor(to - from, 15, 500);
    const start = Math.floor(from / step) * step;
    const end = Math.floor(to / step) * step;
    return { series: await queryRange(historyQuery(step), start + step, end, step, s), start, end, step, to };
  });
  const severity = param('severity');
  const fired = useMemo(
    () => (past.data ? historyOf(past.data.series, past.data, frozen.value ? [] : now) : []),
    [past.data, now, frozen.value],
  );
  const all = useMemo(
    () => fired.filter((x) => ofTag(x, tag, tagged) && passes({ ...x, annotations: {} }, text)),
    [fired, tag, tagged, text],
  );
  const rows = useMemo(() => all.filter((x) => !severity || x.severity === severity), [all, severity]);
  const kept = useNotKept(past.data !== undefined && !fired.length);
  const wider = (
    <span class="group">
      {['24h', '7d', '30d'].map((x) => (
        <button type="button" class="btn" key={x} aria-pressed={r.relative === x} onClick={() => setRelative(x)}>
          {x}
        </button>
      ))}
    </span>
  );
  if (!past.data)
    return past.error ? <ErrorNote error={past.error} what="The history could not be loaded" /> : <Loading lines={5} />;
  const { start: from, to, step } = past.data;
  const strip = (x: HistoryRow) => (
    <Timeline
      from={from}
      to={to}
      label={`fired ${x.episodes.length} times, ${ago(x.total)} in total`}
      spans={x.episodes.map((e) => ({
        ...e,
        level: severityLevel(x.severity) === 'off' ? 'info' : severityLevel(x.severity),
        label: x.name,
      }))}
    />
  );
  return (
    <>
      <div class="row">
        <span class="dim grow">
          Alerts in the {r.relative ? `last ${r.relative}` : 'selected range'} ({ago(step)} resolution)
          {tag && ` on machines that have the tag ${tag} now`}
        </span>
        <SeverityChips rows={all} severity={severity} />
        {wider}
      </div>
      <ErrorNote error={past.error} what={stale(past.time)} />
      <div class={`panel historytable${past.error ? ' stale' : ''}`}>
        <Table<HistoryRow>
          label="Alerts that fired"
          rows={rows}
          rowKey={(x) => x.key}
          defaultSort="-last"
          pagewide
          columns={[
            {
              id: 'severity',
              title: 'Severity',
              sort: (x) => {
                const i = SEVERITIES.indexOf(x.severity);
                return i < 0 ? 1.5 : i;
              },
              cell: (x) => <Severity severity={x.severity} />,
            },
            {
              id: 'name',
              title: 'Alert',
              class: 'historyname',
              sort: (x) => x.name,
              cell: (x) => (
                <span class="historycell">
                  <b class="ellipsis">{x.name}</b>
                  {telling(x.labels)
                    .slice(0, 2)
                    .map(([k, v]) => (
                      <span class="chip" key={k} title={`${k}=${v}`}>
                        <span class="ellipsis">{v}</span>
                      </span>
                    ))}
                </span>
              ),
            },
            {
              id: 'where',
              title: 'Machine',
              class: 'ellipsis',
              sort: (x) => x.where,
              cell: (x) => (x.machine ? <a href={href(machinePath(x.machine))}>{x.machine}</a> : x.where || '–'),
            },
            { id: 'when', title: 'When', width: '30%', cell: strip },
            {
              id: 'times',
              title: 'Times fired',
              head: 'Times',
              num: true,
              sort: (x) => x.episodes.length,
              cell: (x) => x.episodes.length,
            },
            {
              id: 'total',
              title: 'Total',
              num: true,
              sort: (x) => x.total,
              cell: (x) => <span class="nowrap">{ago(x.total)}</span>,
            },
            {
              id: 'last',
              title: 'Last fired',
              num: true,
              sort: (x) => x.last,
              cell: (x) => (
                <span class="nowrap">
                  {x.ongoing && (
                    <Status level={severityLevel(x.severity)} icon="alerts">
                      <span class="sr">firing</span>
                    </Status>
                  )}{' '}
                  <Time time={x.last} />
                </span>
              ),
            },
          ]}
          card={(x) => (
            <span class="unitcard">
              <span class="row nowraprow">
                <Severity severity={x.severity} short />
                <b class="grow ellipsis">{x.name}</b>
                {x.ongoing ? (
                  <Status level={severityLevel(x.severity)} icon="alerts" badge>
                    firing
                  </Status>
                ) : (
                  <span class="dim">
                    <Ago time={x.last} suffix=" ago" />
                  </span>
                )}
              </span>
              <span class="dim ellipsis">
                {[x.where, ...telling(x.labels).map(([, v]) => v)].filter(Boolean).join(' · ') || '–'};{' '}
                {x.episodes.length === 1 ? 'once' : `${x.episodes.length} times`}, {ago(x.total)}
              </span>
              {strip(x)}
            </span>
          )}
          empty={
            fired.length ? (
              <NoMatch what="alerts" params={FILTER} />
            ) : (
              <Empty
                icon="alerts"
                title="Nothing fired in this range"
                why={kept ?? 'While the server is stopped, nothing is recorded.'}
              >
                {wider}
              </Empty>
            )
          }
        />
      </div>
    </>
  );
}
