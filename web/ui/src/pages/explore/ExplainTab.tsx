// What each part of a query gives: the tree of the expression, how many series
// come out of every node, and where two sides do not match.
import { useEffect, useState } from 'preact/hooks';
import { request } from '../../api/client';
import { query, vector } from '../../api/prom';
import type { Labels } from '../../api/types/query';
import { Empty } from '../../components/bits';
import { Icon } from '../../components/icons';
import { seriesName } from '../../lib/chart';
import { format, percent } from '../../lib/format';
import {
  allOf,
  children,
  countQuery,
  filters,
  head,
  kindOf,
  labelDifference,
  partners,
  text,
  type Node,
} from '../../lib/promql';
import { at } from '../../state/clock';
import { QueryError, RunLine } from './bits';
import { useRun } from './useRun';

const MANY = 60; // nodes that are asked about at once

export function ExplainTab({
  q,
  nth,
  failed,
  explore,
}: {
  q: { expr: string };
  nth: number;
  failed: (e: { expr: string; message: string } | undefined) => void;
  explore: (expr: string) => void;
}) {
  const run = useRun(
    q.expr || null,
    nth,
    async (signal) => {
      try {
        const tree = await request<Node>('/api/v1/parse_query', { params: { query: q.expr }, signal });
        failed(undefined);
        return tree;
      } catch (e) {
        if (!signal.aborted) failed({ expr: q.expr, message: (e as Error).message });
        throw e;
      }
    },
    () => true,
  );
  const nodes = run.data && count(run.data);
  return (
    <div class="result">
      <RunLine run={run} what={run.data && `${nodes} ${nodes === 1 ? 'part' : 'parts'}`} />
      {!run.running && <QueryError expr={q.expr} error={run.error} />}
      {run.data && !run.error && (
        <>
          <p class="dim runline">
            Each part with the number of series it returns at the end of the range. Select a part to open it as its own
            query.
          </p>
          <ul class={`tree${run.old ? ' stale' : ''}`} aria-label="Expression">
            <Part key={text(run.data)} n={run.data} asked={run.time} open={nodes! <= MANY} explore={explore} />
          </ul>
        </>
      )}
      {!run.data && run.running && (
        <div class="waiting">
          <div class="skeleton" />
        </div>
      )}
      {!q.expr && <Empty title="No query yet" />}
    </div>
  );
}

const count = (n: Node): number => 1 + children(n).reduce((s, c) => s + count(c), 0);

interface Said {
  series?: number;
  value?: string;
  all?: number;
  error?: string;
  below?: boolean;
} // below: a part of it fails

const literal = (n: Node) => n.type === 'numberLiteral' || kindOf(n) === 'string';

// A few at a time: a tree of forty parts is forty queries.
let running = 0;
const waiting: (() => void)[] = [];
async function inTurn<T>(f: () => Promise<T>): Promise<T> {
  if (running >= 3) await new Promise<void>((go) => waiting.push(go));
  running++;
  try {
    return await f();
  } finally {
    running--;
    waiting.shift()?.();
  }
}

// asked is when: dozens of queries are not repeated every half minute.
function Part({
  n,
  asked: time,
  open,
  explore,
  role,
  told,
}: {
  n: Node;
  asked: number;
  open: boolean;
  explore: (expr: string) => void;
  role?: string;
  told?: (s: Said | undefined) => void;
}) {
  const [shown, setShown] = useState(open);
  const [said, setSaid] = useState<Said | undefined>();
  const [kids, setKids] = useState<(Said | undefined)[]>([]);
  const expr = text(n);
  const parts = children(n);
  const when = at.value;
  // What is made of parts waits for them: if one fails, so does this, and the
  // server need not be asked.
  const asked = shown ? parts.map((c, i) => (literal(c) ? {} : kids[i])) : [];
  const bad = asked.some((k) => k?.error || k?.below);
  const ready = asked.every(Boolean);

  useEffect(() => {
    if (!ready) return;
    const abort = new AbortController();
    const say = (s: Said) => {
      if (!abort.signal.aborted) {
        setSaid(s);
        told?.(s);
      }
    };
    if (bad) {
      say({ below: true });
      return;
    }
    const counting = countQuery(n);
    if (literal(n)) return;
    void inTurn(async () => {
      if (abort.signal.aborted) return;
      try {
        const d = await query(counting ?? expr, when, abort.signal);
        const s: Said =
          d.resultType === 'vector'
            ? { series: Number(d.result[0]?.value?.[1] ?? 0) }
            : { value: d.resultType === 'matrix' ? '' : d.result[1] };
        const whole = allOf(n);
        if (whole && s.series !== undefined) {
          const v = await vector(
            n.type === 'matrixSelector' ? `count(last_over_time(${whole}))` : `count(${whole})`,
            when,
            abort.signal,
          );
          s.all = Number(v[0]?.value?.[1] ?? 0);
        }
        say(s);
      } catch (e) {
        say({ error: (e as Error).message });
      }
    });
    return () => abort.abort();
  }, [expr, when, time, ready, bad]);

  const into = kids.filter((k) => k?.series !== undefined);
  return (
    <li>
      <div class={`part${said?.error || said?.below ? ' bad' : said?.series === 0 ? ' none' : ''}`}>
        {parts.length > 0 ? (
          <button
            type="button"
            class="btn icon plain"
            aria-expanded={shown}
            aria-label={`Parts of ${head(n)}`}
            onClick={() => setShown(!shown)}
          >
            <Icon name={shown ? 'down_' : 'right'} />
          </button>
        ) : (
          <span class="leaf" aria-hidden="true" />
        )}
        {role && <span class="dim role">{role}</span>}
        <button type="button" class="code mono" title={expr} onClick={() => explore(expr)}>
          {head(n)}
        </button>
        <Result n={n} said={said} into={into.map((k) => k!.series!)} />
      </div>
      {said?.error && <p class="note crit">{said.error}</p>}
      {shown && ready && !bad && <Match n={n} when={when} asked={time} />}
      {shown && parts.length > 0 && (
        <ul>
          {parts.map((c, i) => (
            <Part
              key={`${i} ${text(c)}`}
              n={c}
              asked={time}
              open={open}
              explore={explore}
              {...(n.type === 'binaryExpr' && { role: i === 0 ? 'left' : 'right' })}
              told={(s) =>
                setKids((k) => {
                  const next = [...k];
                  next[i] = s;
                  return next;
                })
              }
            />
          ))}
        </ul>
      )}
    </li>
  );
}

function Result({ n, said, into }: { n: Node; said: Said | undefined; into: number[] }) {
  if (literal(n)) return null;
  if (!said) return <span class="dim">…</span>;
  if (said.error)
    return (
      <span class="status crit">
        <Icon name="crit" />
        fails
      </span>
    );
  if (said.below) return <span class="dim">fails: one of its parts fails</span>;
  if (said.series === undefined)
    return <span class="dim">{said.value !== undefined && said.value !== '' ? `= ${said.value}` : ''}</span>;
  const from = filters(n) ? into[0] : undefined;
  const groups = n.type === 'aggregation' ? into.at(-1) : undefined;
  return (
    <span class="said">
      <b class="num">{format(said.series, 'count')}</b> series
      {said.all !== undefined && said.all > 0 && (
        <span class="dim">
          {' '}
          of {format(said.all, 'count')} of this metric
          {said.all !== said.series && `, ${percent(said.series / said.all)}`}
        </span>
      )}
      {from !== undefined && from > 0 && (
        <span class="dim">
          {' '}
          of {format(from, 'count')}, {percent(said.series / from)}
        </span>
      )}
      {groups !== undefined && <span class="dim"> from {format(groups, 'count')}</span>}{' '}
      {said.series === 0 && said.all === undefined && n.type.endsWith('Selector') && (
        <span class="status warn">
          <Icon name="warn" />
          no matching series
        </span>
      )}
      {said.series === 0 && (said.all ?? 0) > 0 && (
        <span class="status warn">
          <Icon name="warn" />
          no series with these labels
        </span>
      )}
      {said.series === 0 && said.all === 0 && (
        <span class="status warn">
          <Icon name="warn" />
          no such metric
        </span>
      )}
    </span>
  );
}

// Match tells how the two sides of an operator find together.
function Match({ n, when, asked: time }: { n: Node; when: number | undefined; asked: number }) {
  const p = partners(n);
  const [found, setFound] = useState<
    | {
        leftAlone: Labels[];
        rightAlone: Labels[];
        leftCount: number;
        rightCount: number;
        leftTwice: number;
        rightTwice: number;
        left: Labels[];
        right: Labels[];
      }
    | undefined
  >();
  const key = p && JSON.stringify([p.leftAlone, when, time]);
  useEffect(() => {
    if (!p || n.type !== 'binaryExpr') return;
    const abort = new AbortController();
    const ask = async (expr: string, limit: number) => {
      const d = await inTurn(() => query(expr, when, abort.signal, { limit: String(limit) }));
      return d.resultType === 'vector' ? d.result.map((s) => s.metric) : [];
    };
    const number = async (expr: string) =>
      Number((await inTurn(() => vector(`count(${expr})`, when, abort.signal)))[0]?.value?.[1] ?? 0);
    void Promise.all([
      ask(p.leftAlone, 3),
      ask(p.rightAlone, 3),
      number(p.leftAlone),
      number(p.rightAlone),
      number(p.leftTwice),
      number(p.rightTwice),
      ask(text(n.lhs), 50),
      ask(text(n.rhs), 50),
    ]).then(
      ([leftAlone, rightAlone, leftCount, rightCount, leftTwice, rightTwice, left, right]) => {
        if (!abort.signal.aborted)
          setFound({ leftAlone, rightAlone, leftCount, rightCount, leftTwice, rightTwice, left, right });
      },
      () => {
        if (!abort.signal.aborted) setFound(undefined);
      },
    );
    return () => abort.abort();
  }, [key]);
  if (!p || n.type !== 'binaryExpr' || !n.matching) return null;
  const many = (count: number, side: string) => (
    <li class="status warn" key={side}>
      <Icon name="warn" />
      {count} {count === 1 ? 'group' : 'groups'} with several series on the {side}
    </li>
  );
  const apart = found?.left.length && found.right.length ? labelDifference(found.left, found.right, n.matching) : [];
  const nothing =
    !!found && found.left.length > 0 && found.right.length > 0 && found.leftCount > 0 && !p.set && apart.length > 0;
  const alone = (count: number, sample: Labels[], side: string) =>
    count > 0 && (
      <li key={side}>
        {format(count, 'count')} unmatched on the {side}:{' '}
        <span class="mono dim">
          {sample.map((s) => seriesName(s)).join(', ')}
          {count > sample.length && ', …'}
        </span>
      </li>
    );
  return (
    <div class="match">
      <p class="dim">
        Matched {p.key}
        {n.matching.card === 'many-to-one'
          ? ', many on the left to one on the right'
          : n.matching.card === 'one-to-many'
            ? ', one on the left to many on the right'
            : ''}
        .
      </p>
      {found && (
        <ul>
          {n.op !== 'or' && alone(found.leftCount, found.leftAlone, 'left')}
          {!p.set && alone(found.rightCount, found.rightAlone, 'right')}
          {!p.set && found.leftTwice > 0 && p.card !== 'many-to-one' && many(found.leftTwice, 'left')}
          {!p.set && found.rightTwice > 0 && p.card !== 'one-to-many' && many(found.rightTwice, 'right')}
          {!p.set && found.leftTwice > 0 && p.card === 'one-to-one' && found.rightTwice === 0 && (
            <li>
              To match many on the left with one on the right, write <code>group_left</code>.
            </li>
          )}
          {!p.set && found.rightTwice > 0 && p.card === 'one-to-one' && found.leftTwice === 0 && (
            <li>
              To match one on the left with many on the right, write <code>group_right</code>.
            </li>
          )}
          {nothing && (
            <li class="status warn">
              <Icon name="warn" />
              No value of {apart.join(', ')} occurs on both sides.{' '}
              {n.matching.on
                ? ''
                : `Try ignoring (${apart.join(', ')}), or on (…) with the labels that both sides have.`}
            </li>
          )}
        </ul>
      )}
    </div>
  );
}
