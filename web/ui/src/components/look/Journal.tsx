// The journal of a unit, or of a whole machine. What is looked at is in the URL: a
// copied link shows the same lines.
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import { request, type ApiError } from '../../api/client';
import { followed, journal } from '../../api/look';
import type { JournalAnswer, JournalQuery, Line } from '../../api/types/look';
import { appended, arrange, levelOf, PRIORITIES, secondsOf } from '../../lib/journal';
import { format } from '../../lib/format';
import { clock, dateTime } from '../../lib/time';
import { at } from '../../state/clock';
import { useData } from '../../state/data';
import { hereWith, param, setParams } from '../../state/location';
import { isUTC } from '../../state/prefs';
import { Empty, ErrorNote, Loading } from '../bits';
import { Icon } from '../icons';
import { LookButton, looksRefused, NoLooks } from '../Who';
import './look.css';

// noJournal are the parameters of the URL that a journal uses, for who closes what it is in.
export const noJournal = { log: null, lq: null, lp: null, lb: null, lt: null };

// after the line or moment that a link leads to, so much is shown, in seconds.
const afterwards = 60;

export function Journal({
  machine,
  unit,
  moment,
  what = 'Failed',
  beside = false,
  level = 3,
}: {
  machine: string;
  unit?: string | undefined;
  moment?: number | undefined; // when what one looks for happened, Unix seconds
  what?: string; // and what that was
  beside?: boolean; // shown without being asked for, where the server lets people look
  level?: 2 | 3;
}) {
  const H = `h${level}` as 'h2';
  const flags = useData(
    beside && !param('log') ? 'flags' : null,
    (s) => request<Record<string, string>>('/api/v1/status/flags', { signal: s }),
    3600,
  );
  const open = !looksRefused() && (param('log') ? param('log') === '1' : beside && flags.data?.look === 'true');
  return (
    <section class="panel journal" aria-label="Journal">
      <header>
        <H>Journal</H>
        <span class="dim grow">{unit ?? `all of ${machine}`}</span>
        <LookButton
          type="button"
          class="btn"
          aria-expanded={open}
          onClick={() => setParams(open ? { ...noJournal, log: '0' } : { log: '1' })}
        >
          {open ? 'Hide' : 'Show journal'}
        </LookButton>
      </header>
      <NoLooks />
      {open && <Lines key={`${machine} ${unit}`} machine={machine} unit={unit} moment={moment} what={what} />}
    </section>
  );
}

function Lines({
  machine,
  unit,
  moment,
  what,
}: {
  machine: string;
  unit: string | undefined;
  moment: number | undefined;
  what: string;
}) {
  const grep = param('lq');
  const priority = param('lp');
  const boot = param('lb');
  const place = param('lt'); // microseconds
  const placed = Number(place) / 1e6;
  const until = placed > 0 ? placed + afterwards : at.value;
  const [again, setAgain] = useState(0);
  const [typed, setTyped] = useState(grep); // lines that come meanwhile must not take it back
  useEffect(() => setTyped(grep), [grep]);
  const q: JournalQuery = {
    machine,
    ...(unit && { unit }),
    ...(grep && { grep }),
    ...(priority && { priority }),
    ...(boot && { boot }),
    ...(until && { until }),
  };
  const key = JSON.stringify(q);
  const [got, setGot] = useState<{ answer?: JournalAnswer; error?: ApiError; key?: string }>({});
  const [follow, setFollow] = useState(false);
  const [ended, setEnded] = useState('');

  useEffect(() => {
    const stop = new AbortController();
    setEnded('');
    journal(JSON.parse(key) as JournalQuery, stop.signal).then(
      (answer) => setGot({ answer, key }),
      (error: ApiError) => error.name !== 'AbortError' && setGot({ error, key }),
    );
    return () => stop.abort();
  }, [key, again]);

  const { answer, error } = got;
  const loading = got.key !== key;
  const following = follow && !place && !loading && !error;
  const last = got.answer?.lines.findLast((l) => l.__CURSOR)?.__CURSOR;
  const after = useRef(last);
  after.current = last;
  useEffect(() => {
    if (!following) return;
    setEnded('');
    const source = new EventSource(followed(JSON.parse(key) as JournalQuery, after.current));
    let more: Line[] = [];
    let frame = 0;
    const show = () => {
      frame = 0;
      const lines = more;
      more = [];
      setGot((g) => ({ ...g, answer: { ...g.answer, lines: appended(g.answer?.lines ?? [], lines) } }));
    };
    const end = (why: string) => {
      source.close();
      setEnded(why);
      setFollow(false);
    };
    source.onmessage = (e: MessageEvent<string>) => {
      more.push(JSON.parse(e.data) as Line);
      frame ||= requestAnimationFrame(show);
    };
    source.addEventListener('end', (e) =>
      end((JSON.parse((e as MessageEvent<string>).data) as { error: string }).error),
    );
    source.onerror = () =>
      source.readyState === EventSource.CLOSED && end('The server ended it. Show the latest lines to see why.');
    return () => {
      source.close();
      cancelAnimationFrame(frame);
    };
  }, [following, key]);

  const { shown, found } = useMemo(() => arrange(answer?.lines ?? [], moment), [answer, moment]);

  // One reads the newest, or what the link leads to.
  const box = useRef<HTMLDivElement>(null);
  const atEnd = useRef(true);
  useLayoutEffect(() => {
    const b = box.current;
    if (!b) return;
    const marked = place && b.querySelector<HTMLElement>('[aria-current], .moment');
    if (marked) b.scrollTop = marked.offsetTop - b.clientHeight / 2;
    else if (atEnd.current) b.scrollTop = b.scrollHeight;
  }, [shown, place]);

  const filtered = !!(grep || priority || boot);
  return (
    <div class="body stack">
      <form class="row" onSubmit={(e) => e.preventDefault()}>
        <input
          class="field grow"
          type="search"
          aria-label="Filter by text"
          placeholder="Text or regular expression"
          value={typed}
          onInput={(e) => setTyped(e.currentTarget.value)}
          onChange={(e) => setParams({ lq: e.currentTarget.value })}
        />
        <select
          class="field"
          aria-label="Priority"
          value={priority}
          onChange={(e) => setParams({ lp: e.currentTarget.value })}
        >
          <option value="">All priorities</option>
          {PRIORITIES.slice(0, 7).map((p) => (
            <option key={p} value={p}>
              {p === 'emerg' ? 'emerg only' : `${p} and above`}
            </option>
          ))}
        </select>
        <select class="field" aria-label="Boot" value={boot} onChange={(e) => setParams({ lb: e.currentTarget.value })}>
          <option value="">All boots</option>
          <option value="0">This boot</option>
          <option value="-1">Previous boot</option>
          {!['', '0', '-1'].includes(boot) && <option value={boot}>Boot {boot}</option>}
        </select>
        <button
          type="button"
          class="btn"
          aria-pressed={follow}
          disabled={!!error}
          onClick={() => {
            setParams({ lt: null });
            atEnd.current = true;
            setFollow(!follow || !!place);
          }}
        >
          <Icon name="play" />
          {follow ? 'Following' : 'Follow'}
        </button>
        <button
          type="button"
          class="btn"
          onClick={() => {
            setParams({ lt: null });
            atEnd.current = true;
            setAgain(again + 1);
          }}
        >
          <Icon name="refresh" />
          Latest
        </button>
      </form>
      <ErrorNote error={error} />
      {ended && (
        <p class="note warn" role="status">
          Following has ended: {ended}
        </p>
      )}
      {loading && !answer && <Loading />}
      {answer && !error && (
        <>
          {moment !== undefined && !found && !loading && (
            <p class="dim">
              {what}{' '}
              <a href={hereWith({ log: '1', lt: Math.round(moment * 1e6) })}>{dateTime(moment, isUTC(), true)}</a>,
              which is not among these lines.
            </p>
          )}
          {shown.length === 0 && !loading ? (
            <Empty
              icon="info"
              title={filtered ? 'No line matches' : 'No lines'}
              why={filtered ? undefined : 'The unit has not written anything, or the journal no longer has it.'}
            />
          ) : (
            <div
              class={`loglines mono${loading ? ' stale' : ''}`}
              ref={box}
              role="log"
              aria-live={following ? 'polite' : 'off'}
              aria-label="Lines"
              tabIndex={0}
              onScroll={(e) => {
                const b = e.currentTarget;
                atEnd.current = b.scrollHeight - b.scrollTop - b.clientHeight < 40;
              }}
            >
              {answer.incomplete && <p class="warn">Incomplete: {answer.incomplete}</p>}
              {answer.limit && (
                <p class="dim">
                  {answer.limit === 'time'
                    ? 'Older lines were not read: the time limit was reached.'
                    : 'Older lines are not shown.'}
                </p>
              )}
              {shown.map((x, i) =>
                'line' in x ? (
                  <LineOf key={x.line.__CURSOR ?? i} l={x.line} unit={unit} place={place} />
                ) : 'boot' in x ? (
                  <p class="between" key={`boot ${x.boot} ${i}`}>
                    Reboot
                  </p>
                ) : (
                  <p class="between moment" key="moment">
                    {what} {moment !== undefined && dateTime(moment, isUTC(), true)}
                  </p>
                ),
              )}
            </div>
          )}
        </>
      )}
    </div>
  );
}

function LineOf({ l, unit, place }: { l: Line; unit: string | undefined; place: string }) {
  const t = secondsOf(l);
  const level = levelOf(l);
  const who = l.SYSLOG_IDENTIFIER ?? '';
  return (
    <p class={level} aria-current={place && place === l.__REALTIME_TIMESTAMP ? 'true' : undefined}>
      {t === undefined ? (
        <span>–</span>
      ) : (
        <a
          href={hereWith({ log: '1', lt: l.__REALTIME_TIMESTAMP })}
          title={`${dateTime(t, isUTC(), true)}: link to this line`}
        >
          <time dateTime={new Date(t * 1000).toISOString()}>{clock(t, isUTC(), true)}</time>
        </a>
      )}{' '}
      {!unit?.startsWith(`${who}.`) && (
        <span class="dim">
          {who}
          {l._PID && `[${l._PID}]`}{' '}
        </span>
      )}
      {level === 'crit' && <span class="sr">error: </span>}
      <bdi>{l.MESSAGE}</bdi>
      {l.length !== undefined && <span class="dim">… ({format(l.length, 'bytes')})</span>}
    </p>
  );
}
