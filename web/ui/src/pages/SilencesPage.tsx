// Silences: active, pending and expired; made, changed and expired here.
import { useMemo, useState } from 'preact/hooks';
import { expireSilence, oneSilence, putSilence, silences as fetchSilences } from '../api/clanmon';
import type { Matcher, Silence } from '../api/types/alerts';
import { Severity } from '../components/alerts/Severity';
import { ReachOf, SilenceForm } from '../components/alerts/SilenceForm';
import { useAlertRules, useAlerts } from '../components/alerts/useAlerts';
import { Ago, Empty, ErrorNote, LastAnswer, Loading, Menu, Time, stale } from '../components/bits';
import { Icon } from '../components/icons';
import { parseMatchers, printMatcher, shortMatcher } from '../lib/alertMatchers';
import type { AlertRow } from '../lib/alerts';
import { ago } from '../lib/format';
import { bySoonest, muted, PRESETS, reach } from '../lib/silences';
import { dateTime } from '../lib/time';
import { NO_MATCH_NOW } from '../lib/words';
import { refresh, second, serverNow } from '../state/clock';
import { useData } from '../state/data';
import { loadAlerts } from '../state/firing';
import { useFleet } from '../state/fleet';
import { href, hereWith, location, param, setParams } from '../state/location';
import { isUTC } from '../state/prefs';
import { toast } from '../state/toast';
import './silencespage.css';
import { ChangeButton } from '../components/Who';

const TABS = [
  ['active', 'Active'],
  ['pending', 'Pending'],
  ['expired', 'Expired'],
] as const;

export default function SilencesPage() {
  const found = useData('silences', fetchSilences);
  const { rows } = useAlerts();
  const [edit, setEdit] = useState<Silence | undefined>();
  const text = param('q').toLowerCase();
  const wanted = param('silence');
  const target = found.data?.find((s) => s.id === wanted);
  const tab = TABS.find(([id]) => id === param('tab'))?.[0] ?? target?.status.state ?? 'active';
  const all = useMemo(() => (found.data ?? []).slice().sort(bySoonest), [found.data]);
  const passing = all.filter((s) =>
    `${s.matchers.map(printMatcher).join(' ')} ${s.comment} ${s.createdBy}`.toLowerCase().includes(text),
  );
  const shown = passing.filter((s) => s.status.state === tab);
  const [most, setMost] = useState(50);
  const making = !['', '0', 'false'].includes(param('new'));
  const given = useMemo(() => readGiven(location.value.params.getAll('matcher')), [location.value.params]);
  const close = () => setParams({ new: null, matcher: null });

  if (found.error?.status === 404) {
    return (
      <>
        <h1>Silences</h1>
        <div class="panel">
          <Empty
            icon="silence"
            title="No silences here"
            why="This server sends its alerts to the Alertmanagers of its configuration file. Create silences there."
          />
        </div>
      </>
    );
  }
  return (
    <>
      <div class="pagehead">
        <h1>Silences</h1>
        <LastAnswer time={found.time} />
        <span class="grow" />
        <a class="btn wide" href={href('/alerts')}>
          <Icon name="alerts" />
          Alerts
        </a>
        <ChangeButton type="button" class="btn primary" onClick={() => setParams({ new: true }, false)}>
          <Icon name="plus" />
          New silence
        </ChangeButton>
      </div>
      <nav class="tabs" aria-label="States of silences">
        {TABS.map(([id, title]) => {
          const n = all.filter((s) => s.status.state === id).length;
          return (
            <a
              key={id}
              href={hereWith({ tab: id === 'active' && !wanted ? null : id, silence: null })}
              aria-current={tab === id ? 'page' : undefined}
            >
              {title}
              {n > 0 && <span class="count">{n}</span>}
            </a>
          );
        })}
      </nav>
      {all.length > 0 && (
        <div class="row">
          <input
            class="field grow"
            style={{ maxWidth: '360px' }}
            type="search"
            aria-label="Filter silences"
            placeholder="Filter: matcher, reason, author"
            value={param('q')}
            onInput={(e) => setParams({ q: e.currentTarget.value })}
          />
        </div>
      )}
      <ErrorNote error={found.error} what={found.data ? stale(found.time) : 'The silences could not be loaded'} />
      {wanted && found.data && !target && (
        <p class="note">This silence no longer exists. Expired silences are removed after a few days.</p>
      )}
      {!found.data ? (
        !found.error && <Loading />
      ) : shown.length ? (
        <ul class={`silences stack${found.error ? ' stale' : ''}`}>
          {shown.slice(0, most).map((s) => (
            <SilenceCard key={s.id} s={s} rows={rows} marked={s.id === wanted} onEdit={() => setEdit(s)} />
          ))}
        </ul>
      ) : (
        <div class="panel">
          <Empty
            icon="silence"
            title={
              passing.length < all.length && text
                ? 'No silences match the filter'
                : tab === 'active'
                  ? 'No active silences'
                  : tab === 'pending'
                    ? 'No pending silences'
                    : 'No expired silences'
            }
            why={
              tab === 'active'
                ? 'A silence stops notifications of matching alerts, during maintenance or for a known problem.'
                : tab === 'pending'
                  ? 'Silences that start later, such as for planned maintenance.'
                  : 'Expired silences are removed after a few days.'
            }
          >
            {text ? (
              <button type="button" class="btn" onClick={() => setParams({ q: null })}>
                Show all
              </button>
            ) : (
              tab !== 'expired' && (
                <ChangeButton type="button" class="btn" onClick={() => setParams({ new: true }, false)}>
                  New silence
                </ChangeButton>
              )
            )}
          </Empty>
        </div>
      )}
      {shown.length > most && (
        <button type="button" class="btn" onClick={() => setMost(most + 50)}>
          Show more of {shown.length}
        </button>
      )}
      {making && (
        <>
          <SilenceForm
            key={location.value.params.getAll('matcher').join(',')}
            matchers={given.matchers}
            {...(param('comment') && { comment: param('comment') })}
            onClose={close}
            onDone={(id) => setParams({ new: null, matcher: null, comment: null, tab: null, silence: id })}
          />
          {given.errors.length > 0 && (
            <p class="note crit" role="alert">
              Invalid matchers in the link: {given.errors.join('; ')}
            </p>
          )}
        </>
      )}
      {edit && (
        <SilenceForm
          key={edit.id}
          matchers={edit.matchers}
          edit={edit}
          onClose={() => setEdit(undefined)}
          onDone={(id) => setParams({ silence: id, tab: null })}
        />
      )}
    </>
  );
}

function readGiven(texts: string[]): { matchers: Matcher[]; errors: string[] } {
  const matchers: Matcher[] = [];
  const errors: string[] = [];
  for (const t of texts) {
    const m = parseMatchers(t);
    if ('error' in m) errors.push(`${t} (${m.error})`);
    else matchers.push(...m);
  }
  return { matchers, errors };
}

const time = (t: string) => Date.parse(t) / 1000;

function SilenceCard({
  s,
  rows,
  marked,
  onEdit,
}: {
  s: Silence;
  rows: AlertRow[];
  marked: boolean;
  onEdit: () => void;
}) {
  const [sure, setSure] = useState(false);
  const [error, setError] = useState<Error | undefined>();
  const [open, setOpen] = useState(false);
  const state = s.status.state;
  const hits = useMemo(() => (state === 'expired' ? [] : muted(rows, s.matchers)), [rows, s.matchers, state]);
  const { rows: fleet } = useFleet();
  const groups = useAlertRules(state !== 'expired');
  const covers = useMemo(
    () =>
      reach(
        s.matchers,
        fleet,
        groups.data?.flatMap((g) => g.rules.map((r) => r.name)),
      ),
    [s.matchers, fleet, groups.data],
  );
  const done = (text: string) => {
    toast(text);
    setError(undefined);
    void loadAlerts();
    refresh();
  };
  const extend = async (end: number) => {
    try {
      const a = await putSilence({
        id: s.id,
        matchers: s.matchers,
        startsAt: s.startsAt,
        endsAt: new Date(end * 1000).toISOString(),
        createdBy: s.createdBy,
        comment: s.comment,
      });
      if (marked && a.silenceID !== s.id) setParams({ silence: a.silenceID });
      const stored = await oneSilence(a.silenceID).catch(() => undefined);
      done(stored ? `Extended to ${dateTime(time(stored.endsAt), isUTC())}` : 'Extended');
    } catch (e) {
      setError(e as Error);
    }
  };
  const expire = async () => {
    try {
      await expireSilence(s.id);
      done('Silence expired');
    } catch (e) {
      setError(e as Error);
    }
    setSure(false);
  };
  return (
    <li
      class={`panel silence${marked ? ' marked' : ''}`}
      ref={(n) => {
        if (marked && n && !n.dataset.seen) {
          n.dataset.seen = '1';
          n.scrollIntoView({ block: 'center' });
        }
      }}
    >
      <div class="main">
        <div class="row matcherlist">
          {s.matchers.map((m) => (
            <code class="chip" key={printMatcher(m)}>
              <span class="wrap">{shortMatcher(m)}</span>
            </code>
          ))}
        </div>
        <p class="why wrap">{s.comment || <span class="dim">no reason given</span>}</p>
        <p class="dim">
          {s.createdBy || 'somebody'} ·{' '}
          {state === 'active' ? (
            <>
              since <Time time={time(s.startsAt)} />, <b class="left">{ago(time(s.endsAt) - second.value)} left</b>,
              until <Time time={time(s.endsAt)} />
            </>
          ) : state === 'pending' ? (
            <>
              from <Time time={time(s.startsAt)} />, <b class="left">in {ago(time(s.startsAt) - second.value)}</b>,
              until <Time time={time(s.endsAt)} />
            </>
          ) : (
            <>
              from <Time time={time(s.startsAt)} /> until <Time time={time(s.endsAt)} />, expired{' '}
              <Ago time={time(s.endsAt)} suffix=" ago" />
            </>
          )}
        </p>
        {state !== 'expired' && (
          <p>
            {hits.length === 0 ? (
              <span class="dim">{NO_MATCH_NOW}</span>
            ) : (
              <button type="button" class="btn plain left" aria-expanded={open} onClick={() => setOpen(!open)}>
                <Icon name={open ? 'up' : 'down_'} />
                {state === 'active' ? 'Mutes' : 'Would mute'} {hits.length === 1 ? '1 alert' : `${hits.length} alerts`}
              </button>
            )}
          </p>
        )}
        {state !== 'expired' && <ReachOf covers={covers} any />}
        {open && (
          <ul class="hits">
            {hits.slice(0, 30).map((r) => (
              <li key={r.key}>
                <Severity severity={r.severity} short />
                <a href={href('/alerts', { alert: r.key, tab: r.state === 'firing' ? null : r.state })}>
                  <b>{r.name}</b>
                </a>
                <span class="ellipsis">{r.where}</span>
                <span class="dim ellipsis">{r.annotations.summary}</span>
              </li>
            ))}
            {hits.length > 30 && <li class="dim">and {hits.length - 30} more</li>}
          </ul>
        )}
        <ErrorNote error={error} what="The silence could not be changed" />
      </div>
      <div class="acts">
        {state === 'expired' ? (
          <ChangeButton type="button" class="btn" onClick={onEdit}>
            <Icon name="refresh" />
            Again
          </ChangeButton>
        ) : (
          <>
            <ChangeButton type="button" class="btn" onClick={onEdit}>
              <Icon name="edit" />
              Edit
            </ChangeButton>
            <Menu label="Extend" title="End later">
              {(close) => [
                ...[
                  [3600, 'by 1 hour'],
                  [8 * 3600, 'by 8 hours'],
                  [86400, 'by 1 day'],
                  [7 * 86400, 'by 1 week'],
                ].map(([n, t]) => (
                  <ChangeButton
                    type="button"
                    key={t}
                    onClick={() => {
                      close();
                      void extend(time(s.endsAt) + (n as number));
                    }}
                  >
                    {t}
                  </ChangeButton>
                )),
                <ChangeButton
                  type="button"
                  key="tomorrow"
                  onClick={() => {
                    close();
                    void extend(PRESETS.find((p) => p.id === 'tomorrow')!.end(serverNow(), isUTC()));
                  }}
                >
                  to tomorrow 09:00
                </ChangeButton>,
              ]}
            </Menu>
            {sure ? (
              <ChangeButton
                type="button"
                class="btn danger"
                onClick={() => void expire()}
                onBlur={() => setSure(false)}
                buttonRef={(n) => n?.focus()}
              >
                Expire now?
              </ChangeButton>
            ) : (
              <ChangeButton type="button" class="btn" onClick={() => setSure(true)}>
                <Icon name="close" />
                Expire
              </ChangeButton>
            )}
          </>
        )}
      </div>
    </li>
  );
}
