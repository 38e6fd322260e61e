// Everything about one alert.
import { notifications as fetchNotifications } from '../../api/clanmon';
import type { Notifications, Silence } from '../../api/types/alerts';
import { builtinRunbook, exprOf, integrationName, reachesNobody, runbookOf, type AlertRow } from '../../lib/alerts';
import { ago, format } from '../../lib/format';
import { journalUnit, unitOf } from '../../lib/journal';
import { dateTime } from '../../lib/time';
import { FIRING, NOT_SENT, PENDING, UNKNOWN } from '../../lib/words';
import { second } from '../../state/clock';
import { useData } from '../../state/data';
import { href, hereWith, machinePath, setParams } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { copy } from '../../state/toast';
import { Ago, Overlay, outside, safeLink, Snippet, Time } from '../bits';
import { Icon } from '../icons';
import { Journal, noJournal } from '../look/Journal';
import { Status } from '../Status';
import { Incident } from './Incident';
import { Severity } from './Severity';
import { useAlertRules } from './useAlerts';
import { ChangeButton } from '../Who';

export const useNotifications = () => useData<Notifications>('notifications', fetchNotifications);

export interface AlertActions {
  silence: (r: AlertRow) => void;
  mute: (r: AlertRow) => void;
  muteRule: (r: AlertRow) => void;
}

// chartOf is where Explore shows the rule's expression, '' if it is not known.
export const chartOf = (expr: string): string => (expr ? href('/explore', { 'g0.expr': expr, 'g0.tab': '0' }) : '');

// Several rules may share a name; expr says which one it was.
function useRule(name: string, expr: string) {
  const groups = useAlertRules();
  const all = (groups.data ?? []).flatMap((g) =>
    g.rules.filter((r) => r.name === name).map((r) => ({ ...r, group: g.name })),
  );
  return all.find((x) => x.query === expr) ?? all[0];
}

// FiresIn is how long a pending alert still waits.
export function FiresIn({ at }: { at: number | undefined }) {
  if (at === undefined) return <span class="dim">pending</span>;
  const left = at - second.value;
  return (
    <time class="dim" dateTime={new Date(at * 1000).toISOString()} title={dateTime(at, isUTC(), true)}>
      {left > 0 ? `fires in ${ago(left)}` : 'about to fire'}
    </time>
  );
}

export function AlertSheet({
  r,
  moment,
  head,
  inhibitors,
  silences,
  told,
  onClose,
  actions,
}: {
  r: AlertRow;
  moment?: number; // of the past, of which the alert is shown
  head?: preact.ComponentChildren;
  inhibitors: ReadonlyMap<string, AlertRow | string>;
  silences: Silence[] | undefined;
  told: Notifications | undefined;
  onClose: () => void;
  actions: AlertActions;
}) {
  const sentAlong = exprOf(r.generatorURL);
  const rule = useRule(r.name, sentAlong);
  const expr = sentAlong || rule?.query || '';
  const fires = r.state === 'pending' && rule ? r.since + rule.duration : undefined;
  const builtin = builtinRunbook(r);
  const runbook = builtin ? href(builtin) : safeLink(runbookOf(r.annotations));
  // What is shown above is not repeated.
  const annotations = Object.entries(r.annotations).filter(
    ([k]) => !['summary', 'description', ...(builtin ? ['runbook_url'] : [])].includes(k),
  );
  const sent = told?.[r.key] ?? [];
  const close = () => {
    onClose();
    setParams(noJournal);
  };
  const unit = unitOf(r.labels);
  // An alert fires after its condition has held for a while.
  const began = r.state === 'pending' ? r.since : r.since - (rule?.duration ?? 0);
  return (
    <Overlay kind="sheet" wide title={r.name || 'Alert'} onClose={close}>
      <div class="row">
        <Severity severity={r.severity} badge />
        {moment !== undefined ? (
          <Status level="off" icon="clock" badge>
            fired
          </Status>
        ) : r.state === 'pending' ? (
          <Status level="info" icon="wait" badge>
            pending
          </Status>
        ) : r.state === 'silenced' ? (
          <Status level="off" icon="silence" badge>
            silenced
          </Status>
        ) : (
          <Status level="warn" icon="alerts" badge>
            firing
          </Status>
        )}
        <span class="dim">
          {moment !== undefined ? (
            <>since </>
          ) : (
            <>
              {r.state === 'pending' ? PENDING : FIRING} for <Ago time={r.since} />, since{' '}
            </>
          )}
          <Time time={r.since} withSeconds />
          {fires !== undefined && (
            <>
              {'; '}
              <FiresIn at={fires} />
            </>
          )}
        </span>
      </div>
      {head}
      {r.annotations.summary && <p class="summary wrap">{r.annotations.summary}</p>}
      {r.annotations.description && <p class="wrap">{r.annotations.description}</p>}
      <div class="row">
        <ChangeButton type="button" class="btn primary" onClick={() => actions.silence(r)}>
          <Icon name="silence" />
          Silence
        </ChangeButton>
        {r.machine && (
          <ChangeButton type="button" class="btn" onClick={() => actions.mute(r)}>
            <Icon name="fleet" />
            Mute {r.machine}
          </ChangeButton>
        )}
        <ChangeButton
          type="button"
          class="btn"
          title={`Silence ${r.name} on all machines`}
          onClick={() => actions.muteRule(r)}
        >
          <Icon name="list" />
          Silence rule
        </ChangeButton>
        {expr && (
          <a class="btn" href={chartOf(expr)}>
            <Icon name="chart" />
            Chart
          </a>
        )}
        {unit && r.machine && (
          <a class="btn" href={href('/services', { view: 'units', unit, on: r.machine })}>
            <Icon name="services" />
            Unit
          </a>
        )}
        {runbook && (
          <a class="btn" href={runbook} {...(!builtin && outside)}>
            <Icon name="link" />
            Runbook
          </a>
        )}
        <button
          type="button"
          class="btn icon"
          title="Copy link"
          aria-label="Copy link"
          onClick={() =>
            void copy(window.location.origin + hereWith(moment === undefined ? { alert: r.key } : {}), 'Link copied')
          }
        >
          <Icon name="copy" />
        </button>
      </div>
      <Muted r={r} inhibitors={inhibitors} silences={silences} />
      <dl class="facts">
        {r.machine && (
          <>
            <dt>Machine</dt>
            <dd>
              <a href={href(machinePath(r.machine))}>{r.machine}</a>
            </dd>
          </>
        )}
        {r.value !== undefined && (
          <>
            <dt>Value</dt>
            <dd title={String(r.value)}>{format(r.value)}</dd>
          </>
        )}
        {rule && rule.duration > 0 && (
          <>
            <dt>Fires after</dt>
            <dd>
              {format(rule.duration, 'seconds')}
              {fires !== undefined && <>, at {dateTime(fires, isUTC(), true)}</>}
            </dd>
          </>
        )}
        {r.receivers.length > 0 && (
          <>
            <dt>Receivers</dt>
            <dd>{r.receivers.join(', ')}</dd>
          </>
        )}
        {r.state !== 'pending' && moment === undefined && (
          <>
            <dt>Notified</dt>
            <dd>
              {sent.length === 0 ? (
                <span class="dim">{told ? NOT_SENT : UNKNOWN}</span>
              ) : (
                sent.map((s) => (
                  <div key={`${s.receiver} ${s.integration}`}>
                    {reachesNobody(s.integration)
                      ? 'not sent, logged'
                      : `${s.receiver} by ${integrationName(s.integration)}`}
                    , <Ago time={Date.parse(s.at) / 1000} suffix=" ago" />{' '}
                    <span class="dim">
                      (<Time time={Date.parse(s.at) / 1000} withSeconds />)
                    </span>
                  </div>
                ))
              )}
            </dd>
          </>
        )}
      </dl>
      <Incident key={r.key} r={r} expr={expr} fired={r.since} began={began} />
      {r.machine && (
        <Journal
          key={r.key}
          machine={r.machine}
          unit={unit && journalUnit(unit)}
          moment={began}
          what="The condition began"
          beside={!!unit}
        />
      )}
      <section class="stack" aria-label="Labels">
        <h3>Labels</h3>
        <div class="row labels">
          {Object.entries(r.labels).map(([k, v]) => (
            <a
              class="chip"
              key={k}
              title="Filter by this label"
              href={hereWith({ alert: null, fired: null, moment: null, which: null, q: `${k}=${v}` })}
            >
              <span class="wrap">
                {k}=<b>{v}</b>
              </span>
            </a>
          ))}
        </div>
      </section>
      {annotations.length > 0 && (
        <section class="stack" aria-label="Annotations">
          <h3>Annotations</h3>
          <dl class="facts">
            {annotations.map(([k, v]) => [
              <dt key={k}>{k}</dt>,
              <dd key={`${k} v`}>
                {safeLink(v) ? (
                  <a href={safeLink(v)} target="_blank" rel="noreferrer noopener">
                    {v}
                  </a>
                ) : (
                  v
                )}
              </dd>,
            ])}
          </dl>
        </section>
      )}
      {expr && (
        <section class="stack" aria-label="Rule">
          <div class="row">
            <h3 class="grow">Rule{rule && <span class="dim"> in group {rule.group}</span>}</h3>
            <a href={href('/rules', { q: r.name })}>Show rule</a>
          </div>
          <Snippet text={expr} />
        </section>
      )}
    </Overlay>
  );
}

// Muted says why an alert is not sent: silences, other alerts, quiet hours.
function Muted({
  r,
  inhibitors,
  silences,
}: {
  r: AlertRow;
  inhibitors: ReadonlyMap<string, AlertRow | string>;
  silences: Silence[] | undefined;
}) {
  if (r.state !== 'silenced') return null;
  return (
    <div class="note">
      {r.silencedBy.map((id) => {
        const s = silences?.find((x) => x.id === id);
        return (
          <p key={id}>
            <a href={href('/silences', { silence: id })}>Silenced</a>
            {s && (
              <>
                {' '}
                by {s.createdBy || 'somebody'} until <Time time={Date.parse(s.endsAt) / 1000} />
                {s.comment && `: ${s.comment}`}
              </>
            )}
          </p>
        );
      })}
      {r.inhibitedBy.map((id) => {
        const o = inhibitors.get(id);
        return (
          <p key={id}>
            Muted while{' '}
            {o && typeof o === 'object' ? (
              <a href={hereWith({ alert: id })}>
                {o.name}
                {o.where && ` of ${o.where}`}
              </a>
            ) : (
              o || 'another alert'
            )}{' '}
            fires{typeof o === 'object' && o.annotations.summary && `: ${o.annotations.summary}`}
          </p>
        );
      })}
      {r.mutedBy.map((name) => (
        <p key={name}>Muted by the time interval “{name}” of the configuration</p>
      ))}
    </div>
  );
}
