// The dialog that makes or changes a silence, with a preview of what it mutes.
import type { ApiError } from '../../api/client';
import { useMemo, useRef, useState } from 'preact/hooks';
import { expireSilence, oneSilence, putSilence } from '../../api/clanmon';
import type { Matcher, Silence } from '../../api/types/alerts';
import type { Labels } from '../../api/types/query';
import {
  matcher,
  opOf,
  OPS,
  parseMatchers,
  printMatcher,
  shortMatcher,
  withOp,
  type Op,
} from '../../lib/alertMatchers';
import {
  emptyOf,
  fieldOf,
  filled,
  lengthText,
  muted,
  narrowing,
  PRESETS,
  reach,
  readEnd,
  refusal,
  type Reach,
} from '../../lib/silences';
import { ago } from '../../lib/format';
import { dateTime, parseDateTime } from '../../lib/time';
import { NO_MATCH_NOW } from '../../lib/words';
import { refresh, serverNow } from '../../state/clock';
import { loadAlerts } from '../../state/firing';
import { useFleet } from '../../state/fleet';
import { isUTC, recall, remember } from '../../state/prefs';
import { toast } from '../../state/toast';
import { FieldError, Overlay } from '../bits';
import { Icon } from '../icons';
import { Severity } from './Severity';
import { useAlertRules, useAlerts } from './useAlerts';
import './silences.css';
import { who } from '../../state/who';
import { ChangeButton, NoChanges } from '../Who';

export interface SilenceFormProps {
  matchers: Matcher[];
  labels?: Labels; // of the alert it is made for: they are offered for narrowing
  comment?: string;
  edit?: Silence; // changed rather than made anew
  title?: string;
  note?: string; // what it does not cover
  onClose: () => void;
  onDone?: (id: string) => void;
}

type Errors = Partial<Record<'matchers' | 'start' | 'end' | 'author' | 'comment' | 'form', string>>;

export function SilenceForm(p: SilenceFormProps) {
  const utc = isUTC();
  const [matchers, setMatchers] = useState<Matcher[]>(p.matchers.length ? p.matchers : [matcher('machine', '')]);
  const [preset, setPreset] = useState(p.edit ? 'custom' : '1h');
  // What is over is made again from now on, for as long as it was.
  const over = p.edit?.status.state === 'expired';
  const begun = useRef(
    p.edit && !over
      ? {
          start: dateTime(Date.parse(p.edit.startsAt) / 1000, utc),
          end: dateTime(Date.parse(p.edit.endsAt) / 1000, utc),
        }
      : undefined,
  ).current;
  const [start, setStart] = useState(begun?.start ?? 'now');
  const [end, setEnd] = useState(begun?.end ?? (p.edit ? lengthText(p.edit) : '2h'));
  const [comment, setComment] = useState(p.comment ?? p.edit?.comment ?? '');
  const known = who.value?.name; // whom the server makes the author, whatever the form says
  const [typed, setAuthor] = useState(p.edit?.createdBy ?? recall('silence.author', ''));
  const author = known || typed;
  const [errors, setErrors] = useState<Errors>({});
  const [busy, setBusy] = useState(false);
  const [adding, setAdding] = useState('');
  const { rows } = useAlerts();
  const usable = useMemo(
    () =>
      matchers.filter((m) => filled([m]).length || p.edit?.matchers.some((g) => printMatcher(g) === printMatcher(m))),
    [matchers],
  );
  const hits = useMemo(() => muted(rows, usable), [rows, usable]);
  const { rows: fleet } = useFleet();
  const groups = useAlertRules();
  const covers = useMemo(
    () =>
      reach(
        usable,
        fleet,
        groups.data?.flatMap((g) => g.rules.map((r) => r.name)),
      ),
    [usable, fleet, groups.data],
  );
  const more = p.labels ? narrowing(p.labels, matchers) : [];
  const names = useMemo(() => [...new Set(rows.flatMap((r) => Object.keys(r.labels)))].sort(), [rows]);
  const set = (i: number, m: Matcher) => {
    setMatchers(matchers.map((x, k) => (k === i ? m : x)));
    setErrors({ ...errors, matchers: '' });
  };
  const running = p.edit?.status.state === 'active';

  const times = (): { from: number; to: number } | Errors => {
    const now = serverNow();
    if (preset !== 'custom') return { from: now, to: PRESETS.find((x) => x.id === preset)!.end(now, utc) };
    // A silence that runs keeps its begin: with another it would be another one.
    // Fields have no seconds; a time that was not changed keeps its own.
    const from =
      running || (begun && start === begun.start)
        ? Date.parse(p.edit!.startsAt) / 1000
        : start.trim() === 'now' || start.trim() === ''
          ? now
          : parseDateTime(start, utc);
    if (from === undefined) return { start: 'Enter “now” or a time such as 2026-11-25 03:10' };
    const to =
      begun && end === begun.end
        ? Date.parse(p.edit!.endsAt) / 1000
        : readEnd(end, Math.max(from, running ? now : from), utc);
    if (to === undefined) return { end: 'Enter a duration such as 2h or 3d, or a time such as 2026-11-25 03:10' };
    if (to <= now) return { end: 'End is in the past' };
    if (to <= from) return { end: 'End must be after start' };
    return { from, to };
  };
  const t = times();
  const problem = refusal(matchers, p.edit?.matchers);

  const save = async (e: Event) => {
    e.preventDefault();
    const wrong: Errors = { ...('to' in t ? {} : t) };
    if (problem) wrong.matchers = problem;
    if (!author.trim()) wrong.author = 'Add your name';
    if (!comment.trim()) wrong.comment = 'Add a reason';
    if (Object.values(wrong).some(Boolean) || !('to' in t)) return setErrors(wrong);
    setBusy(true);
    // The server takes what lies in its past as now. Its clock is known to two
    // seconds, and the silence must not begin later.
    const begin = running || t.from > serverNow() ? t.from : t.from - 3;
    try {
      const answer = await putSilence({
        ...(p.edit && !over && { id: p.edit.id }),
        matchers: usable,
        startsAt: new Date(begin * 1000).toISOString(),
        endsAt: new Date(t.to * 1000).toISOString(),
        createdBy: author.trim(),
        comment: comment.trim(),
      });
      if (!known) remember('silence.author', author.trim());
      toast(await inForce(answer.silenceID, utc), false, p.edit ? undefined : undo(answer.silenceID));
      void loadAlerts();
      refresh();
      p.onClose();
      p.onDone?.(answer.silenceID);
    } catch (x) {
      // Only of what it read does the server name a field.
      const { message, status } = x as ApiError;
      setErrors({ [status === 400 ? fieldOf(message) : 'form']: message });
      setBusy(false);
    }
  };

  const add = () => {
    const m = parseMatchers(adding);
    if ('error' in m) return setErrors({ ...errors, matchers: m.error });
    if (!m.length) return;
    setMatchers([...matchers.filter((x) => x.name && !emptyOf(x)), ...m]);
    setAdding('');
    setErrors({ ...errors, matchers: '' });
  };

  return (
    <Overlay
      kind="sheet"
      title={p.title ? p.title : !p.edit ? 'New silence' : over ? 'Repeat silence' : 'Edit silence'}
      onClose={p.onClose}
    >
      <form class="silenceform" onSubmit={save} noValidate>
        <fieldset>
          <legend>Alerts to silence</legend>
          <datalist id="silence-labels">
            {names.map((n) => (
              <option key={n} value={n} />
            ))}
          </datalist>
          <ul class="matchers">
            {matchers.map((m, i) => (
              <li key={i}>
                <input
                  class="field name"
                  aria-label="Label"
                  list="silence-labels"
                  value={m.name}
                  placeholder="label"
                  onInput={(e) => set(i, { ...m, name: e.currentTarget.value.trim() })}
                />
                <select
                  class="field op"
                  aria-label="Match operator"
                  value={opOf(m)}
                  onChange={(e) => set(i, withOp(m, e.currentTarget.value as Op))}
                >
                  {OPS.map((o) => (
                    <option key={o}>{o}</option>
                  ))}
                </select>
                <ValueField
                  m={m}
                  values={[...new Set(rows.map((r) => r.labels[m.name] ?? '').filter(Boolean))]}
                  onInput={(value) => set(i, { ...m, value })}
                />
                <button
                  type="button"
                  class="btn icon plain"
                  title={`Remove ${m.name || 'matcher'} (mutes more alerts)`}
                  aria-label={`Remove ${m.name || 'matcher'}`}
                  onClick={() => setMatchers(matchers.filter((_, k) => k !== i))}
                >
                  <Icon name="close" />
                </button>
              </li>
            ))}
          </ul>
          <div class="row">
            {more.slice(0, 8).map((m) => (
              <button
                type="button"
                class="chip"
                key={m.name}
                title="Add this matcher (mutes fewer alerts)"
                onClick={() => setMatchers([...matchers, m])}
              >
                <Icon name="plus" />
                {printMatcher(m)}
              </button>
            ))}
          </div>
          <div class="row">
            <input
              class="field grow mono"
              aria-label="Add matchers"
              placeholder={'add: severity="warning", name=~"nginx.*"'}
              value={adding}
              onInput={(e) => setAdding(e.currentTarget.value)}
              onKeyDown={(e) => {
                if (e.key === 'Enter' && adding.trim()) {
                  e.preventDefault();
                  add();
                }
              }}
            />
            <button type="button" class="btn" disabled={!adding.trim()} onClick={add}>
              <Icon name="plus" />
              Add
            </button>
          </div>
          <FieldError text={errors.matchers} />
        </fieldset>

        <fieldset>
          <legend>Duration</legend>
          <div class="group presets" role="group" aria-label="Duration">
            {[...PRESETS.map((x) => [x.id, x.title] as const), ['custom', 'custom'] as const].map(([id, title]) => (
              <button type="button" class="btn" key={id} aria-pressed={preset === id} onClick={() => setPreset(id)}>
                {title}
              </button>
            ))}
          </div>
          {preset === 'custom' && (
            <div class="two">
              <label class="line">
                From{utc ? ', UTC' : ''}
                <input
                  class="field"
                  value={running ? dateTime(Date.parse(p.edit!.startsAt) / 1000, utc) : start}
                  disabled={running}
                  onInput={(e) => setStart(e.currentTarget.value)}
                />
              </label>
              <label class="line">
                To (time or duration)
                <input
                  class="field"
                  value={end}
                  placeholder="2h, 3d, 2026-11-25 09:00"
                  onInput={(e) => setEnd(e.currentTarget.value)}
                />
              </label>
            </div>
          )}
          <FieldError text={errors.start || errors.end || ('to' in t ? '' : t.start || t.end || '')} />
          {'to' in t && (
            <p class="dim">
              {t.from > serverNow() + 60 ? `From ${dateTime(t.from, utc)} until ` : 'Until '}
              {dateTime(t.to, utc)} ({ago(t.to - Math.max(t.from, serverNow()) + 30)})
            </p>
          )}
        </fieldset>

        <fieldset>
          <legend>Reason and author</legend>
          <label class="line">
            Reason
            <textarea
              class="field"
              rows={2}
              data-autofocus={!p.edit || undefined}
              value={comment}
              placeholder="What is going on, ticket number"
              onInput={(e) => {
                setComment(e.currentTarget.value);
                setErrors({ ...errors, comment: '' });
              }}
            />
          </label>
          <FieldError text={errors.comment} />
          <label class="line">
            Author
            <input
              class="field"
              value={author}
              readOnly={!!known}
              placeholder="Your name"
              autocomplete="username"
              onInput={(e) => {
                setAuthor(e.currentTarget.value);
                setErrors({ ...errors, author: '' });
              }}
            />
          </label>
          <FieldError text={errors.author} />
        </fieldset>

        <section class="panel preview" aria-live="polite">
          <header>
            <h3>{!hits.length ? NO_MATCH_NOW : `Mutes ${hits.length} of ${rows.length} alerts now`}</h3>
          </header>
          <ReachOf covers={covers} any={usable.length > 0} />
          {p.note && <p class="status warn">{p.note}</p>}
          {hits.length > 0 && (
            <ul>
              {hits.slice(0, 8).map((r) => (
                <li key={r.key}>
                  <Severity severity={r.severity} short />
                  <b>{r.name}</b>
                  <span class="ellipsis">{r.where}</span>
                  {r.state !== 'firing' && <span class="dim">{r.state}</span>}
                </li>
              ))}
              {hits.length > 8 && <li class="dim">and {hits.length - 8} more</li>}
            </ul>
          )}
        </section>
        <FieldError text={errors.form} />
        <NoChanges />
        <div class="row end">
          <button type="button" class="btn" onClick={p.onClose}>
            Cancel
          </button>
          <ChangeButton class="btn primary" disabled={busy}>
            {p.edit && !over ? 'Save' : 'Silence'}
            {hits.length > 0 && ` ${hits.length === 1 ? '1 alert' : `${hits.length} alerts`}`}
          </ChangeButton>
        </div>
      </form>
    </Overlay>
  );
}

// inForce says what the server has stored, which is what counts.
async function inForce(id: string, utc: boolean): Promise<string> {
  try {
    const s = await oneSilence(id);
    const until = dateTime(Date.parse(s.endsAt) / 1000, utc);
    const begins = Date.parse(s.startsAt) / 1000;
    const when = s.status.state === 'pending' ? `from ${dateTime(begins, utc)} until ${until}` : `until ${until}`;
    return s.status.state === 'expired'
      ? 'Silence expired'
      : `Silenced ${when}: ${s.matchers.map(shortMatcher).join(', ')}`;
  } catch {
    return 'Silence saved';
  }
}

// undo ends a silence that was just made.
const undo = (id: string) => ({
  text: 'Undo',
  run: () => {
    expireSilence(id).then(
      () => {
        toast('Silence expired');
        void loadAlerts();
        refresh();
      },
      (e: Error) => toast(`The silence could not be expired: ${e.message}`, true),
    );
  },
});

// ReachOf says what a silence covers also while nothing fires.
export function ReachOf({ covers, any }: { covers: Reach; any: boolean }) {
  if (!any) return null;
  const { machines, narrowed, unknown } = covers;
  const few = machines?.slice(0, 5) ?? [];
  const list = (
    <>
      {few.map((m, i) => (
        <>
          {i > 0 && ', '}
          <b key={m}>{m}</b>
        </>
      ))}
      {machines && machines.length > few.length && ` and ${machines.length - few.length} more`}
    </>
  );
  return (
    <div class="reach">
      {unknown.map((u) => (
        <p class="status warn" key={u}>
          <Icon name="warn" />
          <span>{u}</span>
        </p>
      ))}
      {!unknown.length && (
        <p class="dim">
          {machines === undefined ? (
            'Covers matching alerts of all machines.'
          ) : narrowed.length ? (
            <>
              Covers alerts of {list} with {narrowed.map(shortMatcher).join(', ')}.
            </>
          ) : (
            <>Covers every alert of {list}.</>
          )}
        </p>
      )}
    </div>
  );
}

function ValueField({ m, values, onInput }: { m: Matcher; values: string[]; onInput: (v: string) => void }) {
  const id = useRef(`silence-values-${Math.random().toString(36).slice(2)}`).current;
  return (
    <>
      <input
        class="field value mono"
        aria-label={`Value of ${m.name || 'the label'}`}
        list={id}
        value={m.value}
        placeholder={m.isRegex ? 'regular expression for the whole value' : 'value'}
        onInput={(e) => onInput(e.currentTarget.value)}
      />
      <datalist id={id}>
        {values.slice(0, 100).map((v) => (
          <option key={v} value={v} />
        ))}
      </datalist>
    </>
  );
}
