// Runbooks: what each built-in alert means, what to look at, and how to change it.
import text from '../../../../docs/runbooks.md?raw';
import { Empty, Panel } from '../components/bits';
import { Icon } from '../components/icons';
import { Blocks } from '../components/Markdown';
import { NoMatch } from '../components/NoMatch';
import { about, parse, type Runbook } from '../lib/runbooks';
import { agent } from '../state/config';
import { href, param, setParams } from '../state/location';
import './runbooks.css';

const all = parse(text);

export default function RunbooksPage({ params }: { params: Record<string, string> }) {
  if (!params.alert) return <List />;
  const one = all.alerts.find((a) => a.title === params.alert);
  return one ? <One r={one} /> : <None name={params.alert} />;
}

function List() {
  const q = param('q').toLowerCase();
  const shown = all.alerts.filter((a) => `${a.title} ${about(a)}`.toLowerCase().includes(q));
  const groups = [...new Set(shown.map((a) => a.group))];
  return (
    <>
      <div class="pagehead">
        <h1>Runbooks</h1>
        <input
          class="field"
          type="search"
          aria-label="Filter runbooks"
          placeholder="Filter: alert, meaning"
          value={param('q')}
          onInput={(e) => setParams({ q: e.currentTarget.value })}
        />
      </div>
      {groups.map((g) => (
        <Panel key={g} title={g}>
          <ul class="runbooklist body">
            {shown
              .filter((a) => a.group === g)
              .map((a) => (
                <li key={a.title}>
                  <a href={href(`/runbooks/${a.title}`)}>{a.title}</a>
                  <span class="dim">{about(a)}</span>
                </li>
              ))}
          </ul>
        </Panel>
      ))}
      {!shown.length && (
        <div class="panel">
          <NoMatch what="runbooks" params={['q']} />
        </div>
      )}
    </>
  );
}

function One({ r }: { r: Runbook }) {
  return (
    <div class="runbook stack">
      <div class="pagehead">
        <h1 class="wrap">{r.title}</h1>
        <span class="grow" />
        {!agent && (
          <a class="btn" href={href('/alerts', { q: r.title })}>
            <Icon name="alerts" />
            Alerts
          </a>
        )}
        {!agent && (
          <a class="btn" href={href('/rules', { q: r.title })}>
            <Icon name="list" />
            Rule
          </a>
        )}
        <a class="btn" href={href('/runbooks')}>
          All runbooks
        </a>
      </div>
      <section class="panel">
        <div class="body stack">
          <Blocks list={r.blocks} />
        </div>
      </section>
      {all.common.map((c) => (
        <Panel key={c.title} title={c.title}>
          <div class="body stack">
            <Blocks list={c.blocks} />
          </div>
        </Panel>
      ))}
    </div>
  );
}

function None({ name }: { name: string }) {
  return (
    <>
      <div class="pagehead">
        <h1 class="wrap">{name}</h1>
      </div>
      <div class="panel">
        <Empty
          icon="search"
          title="No runbook with this name"
          why="Only built-in alerts have a runbook here. Your own rules link theirs by the annotation runbook_url."
        >
          <a class="btn" href={href('/runbooks')}>
            All runbooks
          </a>
        </Empty>
      </div>
    </>
  );
}
