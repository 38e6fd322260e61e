// One query: its editor, what one can do with it, and its result.
import type { ComponentType } from 'preact';
import { useEffect, useRef, useState } from 'preact/hooks';
import { machines } from '../../api/clanmon';
import { request, type ApiError } from '../../api/client';
import { anyOf } from '../../api/prom';
import { Menu } from '../../components/bits';
import { Icon } from '../../components/icons';
import { Pin } from '../../components/Pin';
import { ChangeButton } from '../../components/Who';
import { errorPosition, type Query, type Tab } from '../../lib/explore';
import { useSaved } from '../../state/boards';
import { useData } from '../../state/data';
import { copy, toast } from '../../state/toast';
import type { EditorHandle, EditorProps } from './Editor';
import { ExplainTab } from './ExplainTab';
import { GraphTab } from './GraphTab';
import { MetricsBrowser } from './MetricsBrowser';
import { TableTab } from './TableTab';

type Code = typeof import('./Editor');
let code: Code | undefined;
let asked: Promise<Code> | undefined;
const load = () =>
  (asked ??= import('./Editor').then(
    (m) => (code = m),
    (e) => {
      asked = undefined;
      throw e;
    },
  ));

export interface PanelProps {
  q: Query;
  i: number;
  alone: boolean;
  history: string[];
  autofocus: boolean;
  change: (q: Partial<Query>, replace?: boolean) => void; // of this query, in the URL
  run: (expr: string) => void;
  again: () => void; // the same text once more
  add: (expr: string) => void;
  duplicate: () => void;
  remove: () => void;
}

export function QueryPanel(p: PanelProps) {
  const { q, i } = p;
  const [draft, setDraft] = useState(q.expr);
  const [error, setError] = useState<{ expr: string; message: string } | undefined>();
  const [browsing, setBrowsing] = useState(false);
  const [keeping, setKeeping] = useState<'save' | 'pin' | ''>('');
  const saved = useSaved();
  const [nth, setNth] = useState(0);
  const [Editor, setEditor] = useState<ComponentType<EditorProps> | undefined>(() => code?.default);
  const handle = useRef<EditorHandle | null>(null);
  const runButton = useRef<HTMLButtonElement>(null);
  const change = useRef(draft);
  change.current = draft;

  // Another query in the URL, unless it is the one just typed.
  useEffect(() => {
    if (change.current.trim() !== q.expr) set(q.expr);
  }, [q.expr]);
  useEffect(() => {
    void load().then(
      (m) => setEditor(() => m.default),
      () => toast('The editor could not be loaded; using a plain text field', true),
    );
  }, []);

  const run = () => {
    const expr = change.current.trim();
    if (expr === q.expr) {
      setNth(nth + 1);
      p.again();
    } else p.run(expr);
  };
  const set = (text: string) => {
    setDraft(text);
    handle.current?.set(text);
  };
  const format = async () => {
    try {
      set(await request<string>('/api/v1/format_query', { params: { query: draft } }));
      setError(undefined);
    } catch (e) {
      setError({ expr: draft, message: (e as ApiError).message });
      toast('Cannot format: syntax error in the query', true);
    }
  };
  const narrow = async (op: '=' | '=~', value: string) => {
    const m = await load();
    const text = m.withMatcher(change.current, 'machine', op, value);
    if (text === change.current)
      return toast(change.current.trim() ? 'The query has no selector to filter' : 'Write a query first', true);
    set(text);
    if (text.trim()) p.run(text.trim());
  };
  const insert = (text: string) => {
    setBrowsing(false);
    // After the dialog has given the focus back to where it was.
    setTimeout(() => (handle.current ? handle.current.insert(text) : setDraft(change.current + text)));
  };
  const place = error && error.expr === draft ? errorPosition(draft, error.message) : undefined;
  const props: EditorProps = {
    value: draft,
    label: `Query ${i + 1}, PromQL`,
    history: p.history,
    error: place,
    onChange: setDraft,
    onRun: run,
    onLeave: () => runButton.current?.focus(),
    onReady: (e) => {
      handle.current = e;
      if (e && p.autofocus) e.focus();
    },
  };
  const tab = (id: Tab, name: string) => (
    <button type="button" role="tab" aria-selected={q.tab === id} onClick={() => p.change({ tab: id }, false)}>
      {name}
    </button>
  );

  return (
    <section class="panel query" aria-label={`Query ${i + 1}`}>
      <div class="queryline">
        <div class={`editor${place ? ' bad' : ''}`}>
          {Editor ? (
            <Editor {...props} />
          ) : (
            <textarea
              class="field mono"
              rows={1}
              aria-label={props.label}
              spellcheck={false}
              value={draft}
              onInput={(e) => setDraft(e.currentTarget.value)}
              onKeyDown={(e) => {
                if (e.key === 'Enter' && !e.shiftKey) {
                  e.preventDefault();
                  run();
                }
              }}
            />
          )}
        </div>
        <div class="querybuttons">
          <button
            type="button"
            ref={runButton}
            class={`btn${draft.trim() !== q.expr || !q.expr ? ' primary' : ''}`}
            onClick={run}
            title="Run (Enter in the editor)"
          >
            <Icon name="play" />
            Run
          </button>
          <button
            type="button"
            class="btn icon"
            title="Find a metric"
            aria-label="Find a metric"
            onClick={() => setBrowsing(true)}
          >
            <Icon name="search" />
          </button>
          <MatcherMenu narrow={(op, v) => void narrow(op, v)} />
          <Menu icon="more" title={`More for query ${i + 1}`}>
            {(close) => {
              const item = (icon: string, text: string, act: () => void) => (
                <button
                  type="button"
                  onClick={() => {
                    close();
                    act();
                  }}
                >
                  <Icon name={icon} />
                  {text}
                </button>
              );
              const keep = (icon: string, text: string, what: 'save' | 'pin') => (
                <ChangeButton
                  type="button"
                  onClick={() => {
                    close();
                    setKeeping(what);
                  }}
                >
                  <Icon name={icon} />
                  {text}
                </ChangeButton>
              );
              return (
                <>
                  {item('edit', 'Format', () => void format())}
                  {item('copy', 'Copy the query', () => void copy(draft))}
                  {item('plus', 'Duplicate', p.duplicate)}
                  {q.expr && keep('plus', 'Save query', 'save')}
                  {q.expr && keep('pin', 'Pin to board', 'pin')}
                  {item('off', q.hidden ? 'Show the result' : 'Hide the result', () =>
                    p.change({ hidden: !q.hidden }, false),
                  )}
                  {item('close', p.alone ? 'Clear' : 'Remove', p.remove)}
                  {saved.length > 0 && <hr />}
                  {saved.map((s) => (
                    <button
                      type="button"
                      key={s.expr}
                      title={s.expr}
                      onClick={() => {
                        close();
                        set(s.expr);
                        p.run(s.expr);
                      }}
                    >
                      <Icon name="pin" />
                      <span class="ellipsis">{s.title}</span>
                    </button>
                  ))}
                  {p.history.length > 0 && <hr />}
                  {p.history.slice(0, 12).map((h) => (
                    <button
                      type="button"
                      key={h}
                      title={h}
                      onClick={() => {
                        close();
                        set(h);
                        handle.current?.focus();
                      }}
                    >
                      <Icon name="clock" />
                      <span class="ellipsis mono">{h}</span>
                    </button>
                  ))}
                </>
              );
            }}
          </Menu>
        </div>
      </div>
      {q.hidden ? (
        <p class="dim runline">
          The result is hidden.{' '}
          <button type="button" class="btn" onClick={() => p.change({ hidden: false }, false)}>
            Show
          </button>
        </p>
      ) : (
        <>
          <div class="tabs" role="tablist" aria-label={`Result of query ${i + 1}`}>
            {tab('table', 'Table')}
            {tab('graph', 'Graph')}
            {tab('explain', 'Explain')}
          </div>
          {!q.expr ? (
            <Hints add={p.run} browse={() => setBrowsing(true)} />
          ) : q.tab === 'graph' ? (
            <GraphTab q={q} nth={nth} i={i} change={p.change} failed={setError} />
          ) : q.tab === 'explain' ? (
            <ExplainTab q={q} nth={nth} failed={setError} explore={p.add} />
          ) : (
            <TableTab q={q} nth={nth} i={i} change={p.change} failed={setError} />
          )}
        </>
      )}
      {keeping && (
        <Pin
          panel={{
            title: q.expr.slice(0, 60),
            unit: 'none',
            queries: [{ expr: q.expr }],
            ...(q.mode === 'stacked' && { kind: q.mode }),
          }}
          save={keeping === 'save'}
          onClose={() => setKeeping('')}
        />
      )}
      {browsing && <MetricsBrowser onChoose={insert} onClose={() => setBrowsing(false)} />}
    </section>
  );
}

const EXAMPLES: [string, string][] = [
  ['Targets up and down', 'up'],
  ['CPU of every machine', 'machine:cpu_used:ratio'],
  ['Traffic by machine, in bits', 'sum by (machine) (rate(node_network_receive_bytes_total{device!="lo"}[5m])) * 8'],
  ['Failed units', 'systemd_unit_state{state="failed"} == 1'],
];

function Hints({ add, browse }: { add: (expr: string) => void; browse: () => void }) {
  return (
    <div class="hints">
      <p class="dim">
        Write a query above,{' '}
        <button type="button" class="link" onClick={browse}>
          look through the metrics
        </button>
        , or start with one of these:
      </p>
      <ul>
        {EXAMPLES.map(([what, expr]) => (
          <li key={expr}>
            <button type="button" class="link mono" onClick={() => add(expr)}>
              {expr}
            </button>{' '}
            <span class="dim">{what}</span>
          </li>
        ))}
      </ul>
    </div>
  );
}

// MatcherMenu narrows all selectors of the query to a machine or to those of a tag.
function MatcherMenu({ narrow }: { narrow: (op: '=' | '=~', value: string) => void }) {
  return (
    <Menu icon="fleet" title="Filter by machine or tag">
      {(close) => (
        <MatcherList
          choose={(op, v) => {
            close();
            narrow(op, v);
          }}
        />
      )}
    </Menu>
  );
}

function MatcherList({ choose }: { choose: (op: '=' | '=~', value: string) => void }) {
  const [text, setText] = useState('');
  const found = useData('machines', machines);
  const all = found.data ?? [];
  const tags = [...new Set(all.flatMap((m) => m.tags ?? []))].sort();
  const fits = (s: string) => s.toLowerCase().includes(text.toLowerCase());
  const names = all
    .map((m) => m.machine)
    .filter(fits)
    .sort();
  return (
    <div class="matchers">
      {all.length > 8 && (
        <input
          class="field"
          type="search"
          aria-label="Filter machines and tags"
          placeholder="Filter"
          value={text}
          onInput={(e) => setText(e.currentTarget.value)}
        />
      )}
      <button type="button" onClick={() => choose('=', '')}>
        All machines
      </button>
      {tags.filter(fits).map((t) => {
        const of = all.filter((m) => m.tags?.includes(t)).map((m) => m.machine);
        return (
          <button type="button" key={`tag ${t}`} onClick={() => choose('=~', anyOf(of))}>
            <span class="dim">tag</span>
            <span class="grow">{t}</span>
            <span class="dim num">{of.length}</span>
          </button>
        );
      })}
      {tags.length > 0 && <hr />}
      {names.slice(0, 100).map((m) => (
        <button type="button" key={m} onClick={() => choose('=', m)}>
          {m}
        </button>
      ))}
      {names.length > 100 && <p class="dim">and {names.length - 100} more; type to filter</p>}
      {found.data && !all.length && <p class="dim">No machines known</p>}
    </div>
  );
}
