import type { ComponentType } from 'preact';
import { useEffect, useErrorBoundary, useState } from 'preact/hooks';
import { Empty, Loading } from './components/bits';
import { Layout } from './components/Layout';
import { RemoteWriteTrouble } from './components/RemoteWrite';
import { match, routes, type PageProps, type Route } from './routes';
import { agent } from './state/config';
import { href, location } from './state/location';

const pages = import.meta.glob<{ default: ComponentType<PageProps> }>('./pages/*Page.tsx');
const load = (r: Route) => pages[`./pages/${r.page}.tsx`]!();
const loaded = new Map<Route, ComponentType<PageProps>>();

export function App() {
  const path = location.value.path;
  const m = match(agent && path === '/' ? '/targets' : path);
  return (
    <Layout route={m?.route} params={m?.params ?? {}}>
      {agent && m && ['/', '/targets'].includes(path) && <RemoteWriteTrouble />}
      {m && agent && !m.route.agent ? (
        <NotInAgent title={m.route.title} />
      ) : m ? (
        <Page key={m.route.path} route={m.route} params={m.params} />
      ) : (
        <div class="panel">
          <Empty title="Page not found" why={path}>
            <a class="btn" href={href('/')}>
              Fleet
            </a>
          </Empty>
        </div>
      )}
    </Layout>
  );
}

// NotInAgent is what links to pages of a server lead to.
function NotInAgent({ title }: { title: string }) {
  return (
    <div class="panel">
      <Empty
        title="This is an agent"
        why={`An agent only scrapes targets and sends the samples by remote write. Open ${title} on the server that receives them.`}
      >
        <span class="row">
          <a class="btn" href={href('/targets')}>
            Targets
          </a>
          <a class="btn" href={href('/status')}>
            Status
          </a>
        </span>
      </Empty>
    </div>
  );
}

// Page loads the code of a page when it is first opened, and keeps a mistake in
// it from taking the rest along.
function Page({ route, params }: { route: Route; params: Record<string, string> }) {
  const [, again] = useState(0);
  const [failed, setFailed] = useState<Error | undefined>();
  const [error, reset] = useErrorBoundary((e) => console.error(e));
  useEffect(() => {
    if (loaded.has(route)) return;
    load(route).then((m) => {
      loaded.set(route, m.default);
      again((n) => n + 1);
    }, setFailed);
  }, [route]);
  if (failed || error) {
    return (
      <div class="panel">
        <Empty
          icon="crit"
          title={failed ? 'The page could not be loaded' : 'An error occurred on this page'}
          why={String((failed ?? (error as Error)).message ?? error)}
        >
          <button
            class="btn"
            onClick={() => {
              reset();
              window.location.reload();
            }}
          >
            Reload
          </button>
        </Empty>
      </div>
    );
  }
  const C = loaded.get(route);
  return C ? <C params={params} /> : <Loading />;
}

// With time to spare, fetch the code of all pages: then they open at once, and
// also while the server is away.
const idle = window.requestIdleCallback ?? ((f: () => void) => setTimeout(f, 2000));
window.addEventListener('load', () =>
  idle(() => routes.filter((r) => !agent || r.agent).forEach((r) => void load(r).catch(() => undefined))),
);
