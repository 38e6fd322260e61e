// The shell: navigation, refreshing, and what is shown when the server is away.
import { prefix } from './api.js';
import { h } from './dom.js';
import * as pages from './pages.js';

const { title, agent } = document.documentElement.dataset;
const routes = {
  '/': pages.home, '/query': pages.query, '/alerts': pages.alerts, '/rules': pages.rules, '/targets': pages.targets, '/agent': pages.targets,
  '/service-discovery': pages.targets, '/alertmanager-discovery': pages.statusPage, '/status': pages.statusPage, '/config': pages.config, '/flags': pages.flags, '/tsdb-status': pages.tsdb,
};
const menu = agent === 'true'
  ? [['/agent', 'Targets'], ['/status', 'Status'], ['/config', 'Config']]
  : [['/', 'Machines'], ['/query', 'Query'], ['/alerts', 'Alerts'], ['/rules', 'Rules'], ['/targets', 'Targets'], ['/status', 'Status']];
const refreshing = new Set(['/', '/targets', '/alerts', '/agent']);
const interval = 15000;

const main = document.getElementById('main');
const banner = document.getElementById('banner');
const age = h('span', { class: 'age' });
let timer;
let turn = 0;
let failures = 0;
let drawnAt = 0;

const path = () => {
  const p = location.pathname.slice(prefix.length).replace(/\/$/, '') || '/';
  return p === '/' && agent === 'true' ? '/agent' : p;
};

function go(href) {
  history.pushState(null, '', href);
  draw(true);
}

async function draw(fresh) {
  clearTimeout(timer);
  const mine = ++turn;
  const page = routes[path()] || routes['/'];
  if (fresh && !main.childElementCount) main.replaceChildren(h('p', { class: 'dim' }, 'Loading…'));
  let wait = interval;
  try {
    const element = await page(location, go);
    if (mine !== turn) return; // another page was asked for meanwhile
    main.replaceChildren(element);
    failures = 0;
    drawnAt = Date.now();
    banner.hidden = true;
    document.body.classList.remove('stale');
  } catch (e) {
    if (mine !== turn) return;
    wait = Math.min(30000, 1000 * 2 ** failures++);
    banner.hidden = false;
    banner.textContent = `${e.message}${e.unreachable ? ` Trying again in ${Math.round(wait / 1000)} s.` : ''}${drawnAt ? ` What is shown is of ${new Date(drawnAt).toLocaleTimeString()}.` : ''}`;
    document.body.classList.add('stale');
    if (!drawnAt) main.replaceChildren();
    if (!e.unreachable) console.error(e);
  }
  shell();
  if (failures || refreshing.has(path())) timer = setTimeout(() => (document.hidden ? null : draw()), Math.min(wait, main.querySelector('table') ? interval : 3000));
}

function shell() {
  const here = path();
  document.title = `${(menu.find(([p]) => p === here) || ['', 'Server'])[1]} – ${/^Prometheus Time/.test(title) ? 'clanmon' : title}`;
  age.textContent = drawnAt ? `updated ${new Date(drawnAt).toLocaleTimeString()}` : '';
  document.getElementById('top').replaceChildren(h('strong', {}, 'clanmon'),
    ...menu.map(([p, name]) => h('a', { href: prefix + p, 'aria-current': p === here && 'page' }, name)), age);
}

document.addEventListener('click', (e) => {
  const a = e.target.closest?.('a[href]');
  if (!a || e.button || e.metaKey || e.ctrlKey || e.shiftKey || a.origin !== location.origin) return;
  if (!a.pathname.startsWith(`${prefix}/`)) return;
  e.preventDefault();
  go(a.href);
});
addEventListener('popstate', () => draw(true));
document.addEventListener('visibilitychange', () => { if (!document.hidden) draw(); });
shell();
draw(true);
