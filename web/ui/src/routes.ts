// The pages. A new one is a file in pages/ and an entry here; the server serves
// index.html at its path once web/handler.go names it. Entries name pages without
// importing them, because components of pages read this table.

export interface PageProps {
  params: Record<string, string>;
}

export interface Route {
  path: string; // ":name" is a part of the path
  also?: string[]; // Prometheus' own paths of the same page
  title: string;
  nav?: string; // the key that follows g; in the bar at the top
  icon?: string;
  agent?: boolean; // there in agent mode too
  page: string; // pages/<page>.tsx
}

export const routes: Route[] = [
  { path: '/', title: 'Fleet', nav: 'f', icon: 'fleet', page: 'FleetPage' },
  { path: '/m/:machine', title: 'Machine', page: 'MachinePage' },
  { path: '/compare', title: 'Compare', icon: 'chart', page: 'ComparePage' },
  { path: '/services', title: 'Services', nav: 's', icon: 'services', page: 'ServicesPage' },
  { path: '/checks', title: 'Checks', nav: 'c', icon: 'ok', page: 'ChecksPage' },
  { path: '/jobs', title: 'Jobs', nav: 'j', icon: 'clock', page: 'JobsPage' },
  { path: '/alerts', title: 'Alerts', nav: 'a', icon: 'alerts', page: 'AlertsPage' },
  { path: '/changes', title: 'Changes', nav: 'h', icon: 'clock', page: 'ChangesPage' },
  { path: '/capacity', title: 'Capacity', nav: 'p', icon: 'chart', page: 'CapacityPage' },
  { path: '/uptime', title: 'Uptime', icon: 'clock', page: 'UptimePage' },
  { path: '/silences', title: 'Silences', icon: 'silence', page: 'SilencesPage' },
  {
    path: '/explore',
    also: ['/query', '/graph'],
    title: 'Explore',
    nav: 'e',
    icon: 'chart',
    page: 'ExplorePage',
  },
  { path: '/boards', also: ['/boards/:board'], title: 'Boards', nav: 'b', icon: 'board', page: 'BoardsPage' },
  {
    path: '/targets',
    also: ['/service-discovery'],
    title: 'Targets',
    nav: 't',
    icon: 'list',
    agent: true,
    page: 'TargetsPage',
  },
  { path: '/rules', title: 'Rules', nav: 'r', icon: 'list', page: 'RulesPage' },
  {
    path: '/runbooks',
    also: ['/runbooks/:alert'],
    title: 'Runbooks',
    icon: 'info',
    agent: true,
    page: 'RunbooksPage',
  },
  {
    path: '/status',
    also: ['/config', '/flags', '/tsdb-status', '/alertmanager-discovery', '/agent', '/status/:tab'],
    title: 'Status',
    nav: 'o',
    icon: 'info',
    agent: true,
    page: 'StatusPage',
  },
];

// The bar at the bottom of a phone has these, and Search.
export const BOTTOM = ['/', '/services', '/alerts', '/targets'];

// listed are the pages that menus offer: all but those of one thing.
export const listed = (agent: boolean): Route[] => routes.filter((r) => !r.path.includes(':') && (!agent || r.agent));

export function match(path: string): { route: Route; params: Record<string, string> } | undefined {
  for (const route of routes) {
    for (const pattern of [route.path, ...(route.also ?? [])]) {
      const names = pattern.split('/');
      const parts = path.replace(/(.)\/$/, '$1').split('/');
      if (names.length !== parts.length) continue;
      const params: Record<string, string> = {};
      const fits = names.every((n, i) => {
        if (!n.startsWith(':')) return n === parts[i];
        try {
          params[n.slice(1)] = decodeURIComponent(parts[i]!);
        } catch {
          return false;
        }
        return parts[i] !== '';
      });
      if (fits) return { route, params };
    }
  }
  return undefined;
}
