import { useMemo } from 'preact/hooks';
import { ruleGroups, shippedRules } from '../api/rules';
import { Severity } from '../components/alerts/Severity';
import {
  Ago,
  Empty,
  ErrorNote,
  LabelList,
  LastAnswer,
  Loading,
  Overlay,
  safeLink,
  Snippet,
  stale,
} from '../components/bits';
import { Icon } from '../components/icons';
import { NoMatch } from '../components/NoMatch';
import { Status, type Level } from '../components/Status';
import { Table, type Column } from '../components/Table';
import { format, seconds } from '../lib/format';
import { severityRank } from '../lib/alerts';
import {
  changed,
  nixDisable,
  nixSetting,
  readable,
  RULE_STATES,
  ruleFits,
  ruleRows,
  stateParam,
  type RuleRow,
  type RuleState,
} from '../lib/rules';
import { durationText } from '../lib/time';
import { severityWord } from '../lib/words';
import { useData } from '../state/data';
import { href, param, setParams } from '../state/location';
import './rules.css';

const LOOK: Record<RuleState, { level: Level; icon: string; word: string }> = {
  failing: { level: 'crit', icon: 'crit', word: 'Failing' },
  firing: { level: 'warn', icon: 'alerts', word: 'Firing' },
  pending: { level: 'info', icon: 'wait', word: 'Pending' },
  waiting: { level: 'off', icon: 'wait', word: 'Waiting' },
  ok: { level: 'ok', icon: 'ok', word: 'OK' },
  internal: { level: 'ok', icon: 'info', word: 'Internal' },
  replaced: { level: 'info', icon: 'edit', word: 'Replaced' },
  disabled: { level: 'off', icon: 'off', word: 'Disabled' },
  off: { level: 'off', icon: 'off', word: 'Off' },
};

const MEANING: Partial<Record<RuleState, string>> = {
  internal: 'Internal to alerting: it is expected to fire and is not sent.',
  disabled: 'Disabled by --rules.disable.',
  replaced: 'Replaced by a rule of the same name in rule_files.',
  off: 'Built-in rules are off: --rules.builtin=off is set, or the configuration file says what to scrape. Enable them with --rules.builtin=on.',
  waiting: 'Not evaluated yet.',
};

export default function RulesPage() {
  const groups = useData('rules', ruleGroups);
  const shipped = useData('shipped rules', shippedRules, 300);
  const rows = useMemo(() => ruleRows(groups.data ?? [], shipped.data ?? []), [groups.data, shipped.data]);
  const filter = {
    text: param('q') || param('search'),
    state: stateParam(param('state'), param('health')),
    type: param('type'),
    from: param('from'),
  };
  const shown = useMemo(() => rows.filter((r) => ruleFits(r, filter)), [rows, JSON.stringify(filter)]);
  const grouped = param('group') !== '';
  const open = rows.find((r) => r.key === param('rule'));
  const count = (state: RuleState) => rows.filter((r) => r.state === state).length;
  const inactive = count('disabled') + count('replaced') + count('off');
  const pick = (name: string, n: number, level: Level, icon: string, word: string) =>
    (n > 0 || filter.state === name) && (
      <button
        type="button"
        class={`problem ${level}`}
        aria-pressed={filter.state === name}
        onClick={() => setParams({ state: filter.state === name ? null : name, health: null }, false)}
      >
        <Icon name={icon} />
        <b>{n}</b> {word}
      </button>
    );
  if (!groups.data && !groups.error)
    return (
      <>
        <Head />
        <Loading lines={5} />
      </>
    );
  return (
    <>
      <Head>
        <input
          class="field"
          type="search"
          aria-label="Filter rules"
          placeholder="Filter: name, group"
          value={filter.text}
          onInput={(e) => setParams({ q: e.currentTarget.value, search: null })}
        />
        <select
          class="field"
          aria-label="Type of rules"
          value={filter.type}
          onChange={(e) => setParams({ type: e.currentTarget.value }, false)}
        >
          <option value="">All types</option>
          <option value="alerting">Alerting</option>
          <option value="recording">Recording</option>
        </select>
        <select
          class="field"
          aria-label="Source of rules"
          value={filter.from}
          onChange={(e) => setParams({ from: e.currentTarget.value }, false)}
        >
          <option value="">All sources</option>
          <option value="shipped">Built-in</option>
          <option value="user">From files</option>
        </select>
        <button type="button" class="btn" aria-pressed={grouped} onClick={() => setParams({ group: !grouped })}>
          By group
        </button>
        <LastAnswer time={groups.time} />
      </Head>
      <ErrorNote error={groups.error} what={groups.data ? stale(groups.time) : 'The rules could not be loaded'} />
      <ErrorNote error={shipped.error} what="The built-in rules could not be loaded" />
      <div class="states" role="group" aria-label="States of rules">
        {pick('failing', count('failing'), 'crit', 'crit', count('failing') === 1 ? 'rule failing' : 'rules failing')}
        {pick('firing', count('firing'), 'warn', 'alerts', 'firing')}
        {pick('pending', count('pending'), 'info', 'wait', 'pending')}
        {pick('waiting', count('waiting'), 'off', 'wait', 'not evaluated yet')}
        {pick('ok', count('ok'), 'ok', 'ok', 'OK')}
        {pick('internal', count('internal'), 'off', 'info', 'internal')}
        {pick('inactive', inactive, 'off', 'off', 'disabled, replaced or off')}
        {pick('changed', rows.filter((r) => r.changed).length, 'info', 'edit', 'with changed settings')}
      </div>
      <section class={`panel${groups.error ? ' stale' : ''}`}>
        <Table
          label="Rules"
          pagewide
          fixed
          rows={shown}
          columns={columns}
          rowKey={(r) => r.key}
          defaultSort="state"
          {...(grouped && { group: groupOf })}
          onOpen={(r) => setParams({ rule: r.key }, false)}
          card={(r) => <Card r={r} />}
          rowClass={(r) => (['disabled', 'replaced', 'off'].includes(r.state) ? 'old' : '')}
          empty={
            rows.length ? (
              <NoMatch what="rules" params={['q', 'search', 'state', 'health', 'type', 'from']} of={rows.length} />
            ) : (
              <Empty icon="list" title="No rules" why="rule_files is empty, and the built-in rules are off.">
                <Snippet text="clanmon server --rules.builtin=on" />
              </Empty>
            )
          }
        />
      </section>
      {open && <Sheet r={open} onClose={() => setParams({ rule: null }, false)} />}
    </>
  );
}

const groupOf = (r: RuleRow) => (r.shipped ? `Built-in: ${r.group}` : `${r.file}: ${r.group}`);

function Head({ children }: { children?: preact.ComponentChildren }) {
  return (
    <div class="pagehead">
      <h1>Rules</h1>
      {children}
    </div>
  );
}

const time = (text: string | undefined) => {
  const t = Date.parse(text ?? '') / 1000;
  return t > 0 ? t : undefined;
};

const columns: Column<RuleRow>[] = [
  {
    id: 'state',
    title: 'State',
    width: '110px',
    sort: (r) => RULE_STATES.indexOf(r.state) * 10 + severityRank(r.severity),
    cell: (r) => {
      const l = LOOK[r.state];
      return (
        <Status level={l.level} icon={l.icon}>
          {l.word}
        </Status>
      );
    },
  },
  {
    id: 'name',
    title: 'Rule',
    class: 'ellipsis',
    min: 220,
    sort: (r) => r.name,
    cell: (r) => (
      <>
        <button type="button" class="link" onClick={() => setParams({ rule: r.key }, false)}>
          <b>{r.name}</b>
        </button>
        {r.changed && (
          <span class="chip" title="This rule has changed settings">
            changed
          </span>
        )}
      </>
    ),
  },
  {
    id: 'severity',
    title: 'Severity',
    width: '106px',
    sort: (r) => r.severity,
    // How bad an alert would be is loud only where it is one.
    cell: (r) =>
      r.type === 'recording' ? (
        <span class="dim">record</span>
      ) : r.state === 'firing' || r.state === 'pending' ? (
        <Severity severity={r.severity} />
      ) : (
        <span class="dim">{severityWord(r.severity)}</span>
      ),
  },
  {
    id: 'alerts',
    title: 'Alerts',
    num: true,
    width: '78px',
    sort: (r) => r.rule?.alerts?.length,
    cell: (r) =>
      r.rule?.alerts?.length && r.state !== 'internal' ? (
        <a href={href('/alerts', { q: r.name })}>{r.rule.alerts.length}</a>
      ) : (
        <span class="dim">{r.type === 'alerting' && r.rule ? (r.rule.alerts?.length ?? 0) : '–'}</span>
      ),
  },
  {
    id: 'expr',
    title: 'Expression',
    class: 'ellipsis mono rulexpr',
    min: 200,
    rank: 2,
    cell: (r) =>
      r.rule?.lastError ? (
        <span class="status crit" title={r.rule.lastError}>
          {r.rule.lastError}
        </span>
      ) : (
        <span title={r.expr}>{r.expr}</span>
      ),
  },
  {
    id: 'group',
    title: 'Group',
    class: 'ellipsis',
    width: '160px',
    rank: 3,
    sort: groupOf,
    cell: (r) => (
      <span class="dim" title={r.file || undefined}>
        {r.group}
      </span>
    ),
  },
  {
    id: 'duration',
    title: 'Duration of the last evaluation',
    head: 'Duration',
    num: true,
    width: '84px',
    rank: 4,
    sort: (r) => r.rule?.evaluationTime,
    cell: (r) => (r.rule ? seconds(r.rule.evaluationTime) : '–'),
  },
  {
    id: 'last',
    title: 'Last evaluation',
    head: 'Evaluated',
    num: true,
    width: '110px',
    rank: 1,
    sort: (r) => time(r.rule?.lastEvaluation),
    cell: (r) => (
      <span class="nowrap">
        {r.rule && r.state !== 'waiting' ? <Ago time={time(r.rule.lastEvaluation)} suffix=" ago" /> : '–'}
      </span>
    ),
  },
];

function Card({ r }: { r: RuleRow }) {
  const l = LOOK[r.state];
  return (
    <span class="rulecard">
      <span class="row">
        <b class="grow ellipsis">{r.name}</b>
        <Status level={l.level} icon={l.icon} badge>
          {l.word}
        </Status>
      </span>
      <span class="dim ellipsis">
        {r.rule?.lastError ?? readable(r.shipped?.summary ?? r.rule?.annotations?.summary ?? r.group)}
      </span>
      <span class="mono dim ellipsis">{r.expr}</span>
    </span>
  );
}

function Sheet({ r, onClose }: { r: RuleRow; onClose: () => void }) {
  const l = LOOK[r.state];
  const s = r.shipped;
  const annotations = r.rule?.annotations ?? {};
  const summary = s?.summary ?? annotations.summary;
  const description = s?.description ?? annotations.description;
  const own = annotations.runbook_url ?? '';
  const runbook = s || own.includes('{{') ? '' : safeLink(own);
  const alerts = r.rule?.alerts ?? [];
  return (
    <Overlay kind="sheet" title={r.name} onClose={onClose}>
      <div class="row">
        <Status level={l.level} icon={l.icon} badge>
          {l.word}
        </Status>
        {r.type === 'alerting' ? <Severity severity={r.severity} badge /> : <span class="chip">recording rule</span>}
        {r.changed && <span class="chip">changed settings</span>}
      </div>
      {MEANING[r.state] && <p class="dim">{MEANING[r.state]}</p>}
      {r.rule?.lastError && (
        <p class="note crit wrap" role="alert">
          {r.rule.lastError}
        </p>
      )}
      {summary && (
        <p class="wrap" title={summary}>
          <b>{readable(summary)}</b>
        </p>
      )}
      {description && (
        <p class="wrap" title={description}>
          {readable(description)}
        </p>
      )}
      {runbook && (
        <p>
          <a href={runbook} target="_blank" rel="noreferrer">
            Runbook
          </a>
        </p>
      )}
      <pre class="ruletext">{r.expr}</pre>
      <div class="row">
        {s && r.type === 'alerting' && (
          <a class="btn" href={href(`/runbooks/${r.name}`)}>
            <Icon name="info" />
            Runbook
          </a>
        )}
        <a class="btn" href={href('/explore', { 'g0.expr': r.expr, 'g0.tab': 'graph' })}>
          <Icon name="chart" />
          Graph
        </a>
        <a class="btn" href={href('/explore', { 'g0.expr': r.expr, 'g0.tab': 'explain' })}>
          <Icon name="list" />
          Explain
        </a>
        {r.type === 'alerting' && r.state !== 'internal' && (
          <a class="btn" href={href('/alerts', { q: r.name })}>
            <Icon name="alerts" />
            Alerts
          </a>
        )}
      </div>
      <dl class="facts">
        <dt>Source</dt>
        <dd>
          {s ? 'built-in' : r.file}, group {r.group}
        </dd>
        {r.inGroup && (
          <>
            <dt>Evaluated</dt>
            <dd>
              every {durationText(r.inGroup.interval)}, <Ago time={time(r.rule?.lastEvaluation)} suffix=" ago" />, took{' '}
              {seconds(r.rule?.evaluationTime)} of the group's {seconds(r.inGroup.evaluationTime)}
            </dd>
          </>
        )}
        {r.rule?.duration !== undefined && (
          <>
            <dt>Fires after</dt>
            <dd>
              {r.rule.duration > 0 ? durationText(r.rule.duration) : 'immediately'}
              {r.rule.keepFiringFor ? `, and keeps firing for ${durationText(r.rule.keepFiringFor)}` : ''}
            </dd>
          </>
        )}
        {r.rule?.labels && Object.keys(r.rule.labels).some((k) => k !== 'severity') && (
          <>
            <dt>Labels</dt>
            <dd>
              <LabelList labels={r.rule.labels} without={['severity']} />
            </dd>
          </>
        )}
      </dl>
      {alerts.length > 0 && (
        <>
          <h3>
            {alerts.length} {alerts.length === 1 ? 'alert' : 'alerts'}
          </h3>
          <ul class="stack">
            {alerts.slice(0, 50).map((a, i) => (
              <li class="row" key={i}>
                <Status level={a.state === 'firing' ? 'warn' : 'info'} icon={a.state === 'firing' ? 'alerts' : 'wait'}>
                  {a.state}
                </Status>
                <span class="grow">
                  <LabelList
                    labels={a.labels}
                    without={['alertname', 'severity', ...Object.keys(r.rule?.labels ?? {})]}
                  />
                </span>
                <span class="num">{format(Number(a.value))}</span>
                <span class="dim">
                  <Ago time={time(a.activeAt)} />
                </span>
              </li>
            ))}
          </ul>
          {alerts.length > 50 && (
            <p class="dim">
              and {alerts.length - 50} more: <a href={href('/alerts', { q: r.name })}>all alerts</a>
            </p>
          )}
        </>
      )}
      {s && <Settings r={r} />}
    </Overlay>
  );
}

function Settings({ r }: { r: RuleRow }) {
  const s = r.shipped!;
  const first = changed(s)[0] ?? s.settings[0];
  const example = first?.value === '' ? '1TB' : (first?.value ?? ''); // only a size is empty by default
  return (
    <>
      {s.settings.length > 0 && (
        <>
          <h3>Settings</h3>
          <div class="tablebox">
            <table class="table" aria-label="Settings">
              <thead>
                <tr>
                  <th scope="col">Setting</th>
                  <th scope="col" class="num">
                    Value
                  </th>
                  <th scope="col" class="num">
                    Default
                  </th>
                </tr>
              </thead>
              <tbody>
                {s.settings.map((x) => (
                  <tr key={x.name}>
                    <td class="mono">{x.name}</td>
                    <td class="num">{x.value === x.default ? String(x.value) : <b>{String(x.value)}</b>}</td>
                    <td class="num dim">{String(x.default)}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
      {first && (
        <>
          <h3>Change a setting</h3>
          <p class="dim">Set it with a server flag or a NixOS option of the clan service:</p>
          <Snippet text={`--rules.set=${r.name}.${first.name}=${example}`} />
          <Snippet text={nixSetting(r.name, first.name, example)} />
        </>
      )}
      <h3>Disable it</h3>
      <Snippet text={s.disable} />
      <Snippet text={nixDisable(r.name)} />
      <p class="dim">Or replace it: a rule of the same name in rule_files takes its place.</p>
    </>
  );
}
