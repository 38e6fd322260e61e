import { useEffect, useRef, useState } from 'preact/hooks';
import { Icon } from '../components/icons';
import { Marks } from '../components/Marks';
import { arrival, newQuery, readQueries, remembered, writeQueries, type Query } from '../lib/explore';
import { refresh } from '../state/clock';
import { location, setParams } from '../state/location';
import { recall, remember } from '../state/prefs';
import { QueryPanel } from './explore/QueryPanel';
import './explore.css';

const MOST = 20; // queries on one page

export default function ExplorePage() {
  const { params } = location.value;
  const came = arrival(params);
  // A link of Prometheus' says its range with every query; ours is one for all.
  useEffect(() => {
    if (came) setParams(came);
  }, [!!came]);
  const queries = readQueries(params).slice(0, MOST);
  const [history, setHistory] = useState<string[]>(() => recall('queries', []));
  // Panels keep their editors while others come and go.
  const ids = useRef<number[]>([]);
  const next = useRef(0);
  while (ids.current.length < queries.length) ids.current.push(next.current++);
  ids.current.length = queries.length;

  const write = (all: Query[], replace = false) => setParams(writeQueries(params, all), replace);
  const ran = (expr: string) => {
    if (!expr) return;
    const h = remembered(recall('queries', [] as string[]), expr);
    setHistory(h);
    remember('queries', h);
  };
  const change = (i: number, part: Partial<Query>, replace = true) =>
    write(
      queries.map((q, k) => (k === i ? { ...q, ...part } : q)),
      replace,
    );
  const insertAt = (i: number, q: Query) => {
    ids.current.splice(i, 0, next.current++);
    write([...queries.slice(0, i), q, ...queries.slice(i)]);
  };

  if (came) return null;
  return (
    <div class="explore">
      <div class="pagehead">
        <h1>Explore</h1>
      </div>
      <Marks wanted={queries.some((q) => q.expr && !q.hidden)}>
        {queries.map((q, i) => (
          <QueryPanel
            key={ids.current[i]}
            q={q}
            i={i}
            alone={queries.length === 1}
            history={history}
            autofocus={!q.expr && (i > 0 || queries.length === 1)}
            change={(part, replace) => change(i, part, replace)}
            run={(expr) => {
              ran(expr);
              change(i, { expr, without: [], hidden: false }, false);
            }}
            again={() => {
              ran(q.expr);
              refresh();
            }}
            add={(expr) => {
              ran(expr);
              insertAt(i + 1, { ...newQuery(expr) });
            }}
            duplicate={() => insertAt(i + 1, { ...q })}
            remove={() => {
              if (queries.length === 1) return write([newQuery()]);
              ids.current.splice(i, 1);
              write(queries.filter((_, k) => k !== i));
            }}
          />
        ))}
      </Marks>
      {queries.length < MOST && (
        <div class="addquery">
          <button type="button" class="btn" onClick={() => insertAt(queries.length, newQuery())}>
            <Icon name="plus" />
            Add a query
          </button>
        </div>
      )}
    </div>
  );
}
