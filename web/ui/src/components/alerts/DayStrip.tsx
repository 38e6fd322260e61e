// What fired in the last 24 hours, by alert, and the sheet of an alert at a moment of the past.
import { quote, queryRange, vector } from '../../api/prom';
import type { AlertRule, Notifications, Silence } from '../../api/types/alerts';
import {
  firedRows,
  gapsOf,
  quietText,
  stoppedText,
  stripOf,
  stripQuery,
  type AlertRow,
  type Gap,
  type Strip,
} from '../../lib/alerts';
import { clock, dateTime } from '../../lib/time';
import { serverNow } from '../../state/clock';
import { useData } from '../../state/data';
import { go, href, hereWith, param, setParams } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { Empty, ErrorNote, Loading, Overlay, Panel } from '../bits';
import { Icon } from '../icons';
import { severityLevel, Status } from '../Status';
import { Timeline } from '../Timeline';
import { AlertSheet, type AlertActions } from './AlertSheet';
import { useAlertRules } from './useAlerts';

const DAY = 86400;
const STEP = 600; // seconds: 144 points of each alert
const SHOWN = 8;

export const NOT_FIRED = { fired: null, moment: null, which: null };

export function DayStrip() {
  const got = useData<Day>('alerts of a day', loadDay, 60);
  const groups = useAlertRules();
  const { strips = [], gaps = [], from = 0, to = 0 } = got.data ?? {};
  const rules = groups.data?.reduce((n, g) => n + g.rules.length, 0);
  const at = (t: number) => clock(t, isUTC(), false);
  const loading = !got.data || (!strips.length && rules === undefined);
  const error = got.error ?? (strips.length ? undefined : groups.error);
  const more = hereWith({ tab: 'history', range: '24h', from: null, to: null, alert: null, sort: null, ...NOT_FIRED });
  return (
    <Panel title="Last 24 hours">
      <div class="body daystrip">
        <ErrorNote error={error} what="The alerts of the last day could not be loaded" />
        {loading && !error && <Loading lines={2} />}
        {!loading && !strips.length && (
          <p class="dim">
            {quietText(rules!, gaps, from, to, at)} {!rules && <a href={href('/rules')}>Rules</a>}
          </p>
        )}
        {strips.slice(0, SHOWN).map((s) => (
          <a
            class="dayrow"
            key={`${s.name} ${s.severity}`}
            href={sheetOf(s, s.spans.at(-1)!)}
            onClick={(e) => {
              // With a pointer the nearest span, with the keyboard the last.
              const box = e.currentTarget.querySelector('.strip')?.getBoundingClientRect();
              if (!box || !e.detail || e.button || e.metaKey || e.ctrlKey) return;
              e.preventDefault();
              e.stopPropagation();
              go(sheetOf(s, nearest(s.spans, from + ((e.clientX - box.left) / box.width) * (to - from))));
            }}
          >
            <span class="row nowraprow">
              <Status level={severityLevel(s.severity)}>
                <span class="sr">{s.severity}</span>
              </Status>
              <span class="ellipsis grow" title={s.name}>
                {s.name}
              </span>
              <span class="dim nowrap">{s.spans.length === 1 ? 'once' : `${s.spans.length} times`}</span>
            </span>
            <Timeline
              from={from}
              to={to}
              label={`When ${s.name} fired`}
              spans={[
                ...gaps.map((g) => ({ ...g, level: 'gap' as const, label: 'The server was not running' })),
                ...s.spans.map((e) => ({
                  from: e.from,
                  to: e.to,
                  level: severityLevel(s.severity) === 'off' ? ('info' as const) : severityLevel(s.severity),
                  label: e.most > 1 ? `${s.name}, up to ${e.most} at once` : s.name,
                })),
              ]}
            />
          </a>
        ))}
        {strips.length > 0 && gaps.length > 0 && <p class="dim">{stoppedText(gaps, from, at)}</p>}
        {strips.length > 0 && (
          <div class="row dim">
            <span>24h ago</span>
            <span class="grow" />
            <a href={more}>{strips.length > SHOWN ? `${strips.length - SHOWN} more in History` : 'History'}</a>
            <span class="grow" />
            <span>now</span>
          </div>
        )}
      </div>
    </Panel>
  );
}

interface Day {
  strips: Strip[];
  gaps: Gap[];
  from: number;
  to: number;
}

// The server scrapes itself, unless a configuration file says otherwise.
const RECORDED = ['up{job="clanmon"}', 'up'].map((up) => `group(last_over_time(${up}[${STEP}s]))`);

async function loadDay(s: AbortSignal): Promise<Day> {
  const to = Math.ceil(serverNow() / STEP) * STEP;
  const from = to - DAY;
  const ask = (expr: string) => queryRange(expr, from + STEP, to, STEP, s);
  const [series, own] = await Promise.all([ask(stripQuery(STEP)), ask(RECORDED[0]!)]);
  const recorded = own.length ? own : await ask(RECORDED[1]!);
  const times = recorded.flatMap((r) => (r.values ?? []).map(([t]) => t));
  return {
    strips: stripOf(series, { start: from, step: STEP }),
    gaps: gapsOf(times, { start: from, end: to, step: STEP }),
    from,
    to,
  };
}

type Span = Strip['spans'][number];

// sheetOf links to a moment at which the alert surely fired: the first step of a span.
const sheetOf = (s: Strip, e: Span) =>
  hereWith({ alert: null, fired: s.name, moment: Math.min(e.from + STEP, Math.floor(serverNow())), which: null });

const nearest = (spans: Span[], t: number): Span =>
  spans.reduce((best, e) => (distance(e, t) < distance(best, t) ? e : best));
const distance = (e: Span, t: number) => Math.max(e.from - t, t - e.to, 0);

// FiredSheet is the sheet of an alert at a moment of the past. Where several of its name fired,
// one can be chosen.
export function FiredSheet({
  rows,
  rules,
  inhibitors,
  silences,
  told,
  actions,
}: {
  rows: AlertRow[]; // what fires now
  rules: AlertRule[];
  inhibitors: ReadonlyMap<string, AlertRow | string>;
  silences: Silence[] | undefined;
  told: Notifications | undefined;
  actions: AlertActions;
}) {
  const [name, moment] = [param('fired'), Number(param('moment'))];
  const valid = Number.isFinite(moment) && moment > 0;
  const hold = rules.find((x) => x.name === name)?.duration ?? 0;
  const got = useData(
    valid ? `fired ${name} ${moment}` : null,
    async (s) => {
      const is = `alertname=${quote(name)}`;
      const [fired, began] = await Promise.all([
        vector(`last_over_time(ALERTS{${is},alertstate="firing"}[${STEP}s])`, moment, s),
        vector(`last_over_time(ALERTS_FOR_STATE{${is}}[${STEP}s])`, moment, s),
      ]);
      return { fired, began };
    },
    600,
  );
  const close = () => setParams({ ...NOT_FIRED });
  const past = got.data ? firedRows(got.data.fired, got.data.began, hold, moment) : [];
  const r = past.find((x) => x.key === param('which')) ?? past[0];
  if (!r)
    return (
      <Overlay kind="sheet" wide title={name} onClose={close}>
        {got.error ? (
          <ErrorNote error={got.error} what="The alert could not be loaded" />
        ) : got.data || !valid ? (
          <Empty icon="alerts" title={valid ? `${name} did not fire then` : 'The link has no valid time'} />
        ) : (
          <Loading lines={4} />
        )}
      </Overlay>
    );
  // If it still fires, more is known of it now.
  const now = rows.find(
    (x) => x.state !== 'pending' && x.since <= moment && Object.entries(r.labels).every(([k, v]) => x.labels[k] === v),
  );
  const others = past.length > 1 && (
    <nav class="row" aria-label={`All of ${name} at that time`}>
      {past.slice(0, 12).map((x) => (
        <a class="chip" key={x.key} aria-current={x === r ? 'true' : undefined} href={hereWith({ which: x.key })}>
          {x === r && <Icon name="ok" />}
          {x.where || Object.values(x.labels).join(' ')}
        </a>
      ))}
      {past.length > 12 && <span class="dim">and {past.length - 12} more</span>}
    </nav>
  );
  return (
    <AlertSheet
      key={r.key}
      r={now ?? r}
      {...(!now && { moment })}
      head={
        <>
          {!now && <p class="dim">As it was at {dateTime(moment, isUTC())}.</p>}
          {others}
        </>
      }
      inhibitors={inhibitors}
      silences={silences}
      told={told}
      onClose={close}
      actions={actions}
    />
  );
}
