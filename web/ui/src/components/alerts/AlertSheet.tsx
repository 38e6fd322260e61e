// Everything about one alert.
import { request } from '../../api/client';
import { notifications as fetchNotifications } from '../../api/clanmon';
import type { Notifications, Silence } from '../../api/types/alerts';
import { exprOf, integrationName, reachesNobody, runbookOf, type AlertRow } from '../../lib/alerts';
import { format } from '../../lib/format';
import { dateTime } from '../../lib/time';
import { useData } from '../../state/data';
import { href, hereWith, machinePath } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { copy } from '../../state/toast';
import { Ago, Overlay, safeLink, Snippet, Time } from '../bits';
import { Icon } from '../icons';
import { Status } from '../Status';
import { Severity } from './Severity';

export const useNotifications = () => useData<Notifications>('notifications', fetchNotifications);

export interface AlertActions {
  silence: (r: AlertRow) => void;
  mute: (r: AlertRow) => void;
}

// chartOf is where Explore shows the rule's expression, '' if it is not known.
export const chartOf = (expr: string): string => (expr ? href('/explore', { 'g0.expr': expr, 'g0.tab': '0' }) : '');

interface RuleInfo {
  name: string;
  query: string;
  duration: number;
  keepFiringFor?: number;
}

// Several rules may share a name; expr says which one it was.
function useRule(name: string, expr: string) {
  return useData(
    `rule ${name} ${expr}`,
    (s) =>
      request<{ groups: { name: string; rules: RuleInfo[] }[] }>('/api/v1/rules', {
        params: { type: 'alert', 'rule_name[]': [name], exclude_alerts: 'true' },
        signal: s,
      }).then((d) => {
        const all = d.groups.flatMap((g) => g.rules.map((r) => ({ ...r, group: g.name })));
        return all.find((x) => x.query === expr) ?? all[0];
      }),
    300,
  );
}

export function AlertSheet({
  r,
  all,
  silences,
  told,
  onClose,
  actions,
}: {
  r: AlertRow;
  all: AlertRow[];
  silences: Silence[] | undefined;
  told: Notifications | undefined;
  onClose: () => void;
  actions: AlertActions;
}) {
  const sentAlong = exprOf(r.generatorURL);
  const rule = useRule(r.name, sentAlong);
  const expr = sentAlong || rule.data?.query || '';
  const runbook = safeLink(runbookOf(r.annotations));
  const sent = told?.[r.key] ?? [];
  return (
    <Overlay kind="sheet" title={r.name || 'Alert'} onClose={onClose}>
      <div class="row">
        <Severity severity={r.severity} badge />
        {r.state === 'pending' ? (
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
          {r.state === 'pending' ? 'true' : 'firing'} for <Ago time={r.since} />, since{' '}
          <Time time={r.since} withSeconds />
        </span>
      </div>
      {r.annotations.summary && <p class="summary wrap">{r.annotations.summary}</p>}
      {r.annotations.description && <p class="wrap">{r.annotations.description}</p>}
      <div class="row">
        <button type="button" class="btn primary" onClick={() => actions.silence(r)}>
          <Icon name="silence" />
          Silence
        </button>
        {r.machine && (
          <button type="button" class="btn" onClick={() => actions.mute(r)}>
            <Icon name="fleet" />
            Mute {r.machine}
          </button>
        )}
        {expr && (
          <a class="btn" href={chartOf(expr)}>
            <Icon name="chart" />
            Chart
          </a>
        )}
        {runbook && (
          <a class="btn" href={runbook} target="_blank" rel="noreferrer noopener">
            <Icon name="link" />
            Runbook
          </a>
        )}
        <button
          type="button"
          class="btn icon"
          title="Copy link"
          aria-label="Copy link"
          onClick={() => void copy(window.location.origin + hereWith({ alert: r.key }), 'Link copied')}
        >
          <Icon name="copy" />
        </button>
      </div>
      <Muted r={r} all={all} silences={silences} />
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
        {rule.data && rule.data.duration > 0 && (
          <>
            <dt>Fires after</dt>
            <dd>
              {format(rule.data.duration, 'seconds')} of being true
              {r.state === 'pending' && <>, at {dateTime(r.since + rule.data.duration, isUTC(), true)}</>}
            </dd>
          </>
        )}
        {r.receivers.length > 0 && (
          <>
            <dt>Goes to</dt>
            <dd>{r.receivers.join(', ')}</dd>
          </>
        )}
        {r.state !== 'pending' && (
          <>
            <dt>Notified</dt>
            <dd>
              {sent.length === 0 ? (
                <span class="dim">nobody{told ? '' : ' is known to have been'}</span>
              ) : (
                sent.map((s) => (
                  <div key={`${s.receiver} ${s.integration}`}>
                    {reachesNobody(s.integration)
                      ? 'in the log only'
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
      <section class="stack" aria-label="Labels">
        <h3>Labels</h3>
        <div class="row labels">
          {Object.entries(r.labels).map(([k, v]) => (
            <a
              class="chip"
              key={k}
              title="Only alerts with this label"
              href={hereWith({ alert: null, q: `${k}=${v}` })}
            >
              <span class="wrap">
                {k}=<b>{v}</b>
              </span>
            </a>
          ))}
        </div>
      </section>
      {Object.entries(r.annotations).some(([k]) => !['summary', 'description'].includes(k)) && (
        <section class="stack" aria-label="Annotations">
          <h3>Annotations</h3>
          <dl class="facts">
            {Object.entries(r.annotations)
              .filter(([k]) => !['summary', 'description'].includes(k))
              .map(([k, v]) => [
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
            <h3 class="grow">Rule{rule.data && <span class="dim"> in group {rule.data.group}</span>}</h3>
            <a href={href('/rules', { q: r.name })}>All of the rule</a>
          </div>
          <Snippet text={expr} />
        </section>
      )}
    </Overlay>
  );
}

// Muted says why nobody is told: silences, other alerts, quiet hours.
function Muted({ r, all, silences }: { r: AlertRow; all: AlertRow[]; silences: Silence[] | undefined }) {
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
        const o = all.find((x) => x.key === id);
        return (
          <p key={id}>
            Held back while{' '}
            {o ? (
              <a href={hereWith({ alert: id })}>
                {o.name}
                {o.where && ` of ${o.where}`}
              </a>
            ) : (
              'another alert'
            )}{' '}
            fires{o?.annotations.summary && `: ${o.annotations.summary}`}
          </p>
        );
      })}
      {r.mutedBy.map((name) => (
        <p key={name}>Quiet hours “{name}” of the configuration</p>
      ))}
    </div>
  );
}
