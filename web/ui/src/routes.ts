// The pages. A new one is a file in pages/ and an entry here; the server serves
// index.html at its path once web/handler.go names it.
import type { ComponentType } from 'preact';

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
  load: () => Promise<{ default: ComponentType<PageProps> }>;
}

export const routes: Route[] = [
  { path: '/', title: 'Fleet', nav: 'f', icon: 'fleet', load: () => import('./pages/FleetPage') },
  { path: '/m/:machine', title: 'Machine', load: () => import('./pages/MachinePage') },
  { path: '/services', title: 'Services', nav: 's', icon: 'services', load: () => import('./pages/ServicesPage') },
  { path: '/alerts', title: 'Alerts', nav: 'a', icon: 'alerts', load: () => import('./pages/AlertsPage') },
  { path: '/silences', title: 'Silences', icon: 'silence', load: () => import('./pages/SilencesPage') },
  {
    path: '/explore',
    also: ['/query', '/graph'],
    title: 'Explore',
    nav: 'e',
    icon: 'chart',
    load: () => import('./pages/ExplorePage'),
  },
  {
    path: '/targets',
    also: ['/service-discovery'],
    title: 'Targets',
    nav: 't',
    icon: 'list',
    agent: true,
    load: () => import('./pages/TargetsPage'),
  },
  { path: '/rules', title: 'Rules', nav: 'r', icon: 'list', load: () => import('./pages/RulesPage') },
  {
    path: '/status',
    also: ['/config', '/flags', '/tsdb-status', '/alertmanager-discovery', '/agent', '/status/:tab'],
    title: 'Status',
    nav: 'o',
    icon: 'info',
    agent: true,
    load: () => import('./pages/StatusPage'),
  },
];

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
