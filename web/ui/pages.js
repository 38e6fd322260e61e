// The pages. Each is an async function of the URL that returns an element.
import { ask, get, matrix, prefix, range, vector } from './api.js';
import { chart } from './chart.js';
import { card, h, labels, status, table } from './dom.js';
import { bytes, bytesPerSecond, dateTime, duration, number, parseDuration, percent, seriesName } from './format.js';

const quote = (s) => JSON.stringify(s);
const fs = 'fstype!~"tmpfs|ramfs|squashfs|overlay|iso9660|efivarfs|fuse.*|nfs.*|cifs"';
const nic = 'device!~"lo|veth.*|br-.*|docker.*|virbr.*"';

function bar(ratio, warn = 0.85, bad = 0.95) {
  if (!Number.isFinite(ratio)) return '–';
  const level = ratio >= bad ? 'bad' : ratio >= warn ? 'warn' : '';
  const box = h('svg', { viewBox: '0 0 100 6', preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    h('rect', { x: 0, y: 0, height: 6, width: Math.max(0, Math.min(1, ratio)) * 100 }));
  return h('span', {}, percent(ratio), h('span', { class: `bar ${level}` }, box));
}

/** Machines that this server scrapes, and one of them in detail. */
export async function home(url) {
  const by = (q) => `max by (machine, instance) (label_replace(${q}, "machine", "$1", "machine", "(.+)"))`;
  const queries = {
    up: 'up', cpu: '1 - avg by (machine, instance) (rate(node_cpu_seconds_total{mode="idle"}[2m]))',
    memory: by('1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes'),
    disk: `max by (machine, instance) (1 - node_filesystem_avail_bytes{${fs}} / (node_filesystem_size_bytes > 0))`,
    net: `sum by (machine, instance) (rate(node_network_receive_bytes_total{${nic}}[2m]) + rate(node_network_transmit_bytes_total{${nic}}[2m]))`,
    load: 'node_load1', uptime: 'node_time_seconds - node_boot_time_seconds', failed: 'systemd_unit_state{state="failed"} == 1',
    alerts: 'ALERTS{alertstate="firing"}',
  };
  const answers = Object.fromEntries(await Promise.all(Object.entries(queries).map(async ([k, q]) => [k, await vector(q)])));
  const machines = new Map();
  const nameOf = (m) => m.machine || (m.instance || '?').replace(/:\d+$/, '');
  for (const { metric, value } of answers.up) {
    const name = nameOf(metric);
    const m = machines.get(name) || { name, jobs: [], down: [] };
    m.jobs.push(metric.job);
    if (value !== 1) m.down.push(metric.job);
    machines.set(name, m);
  }
  for (const key of ['cpu', 'memory', 'disk', 'net', 'load', 'uptime']) {
    for (const { metric, value } of answers[key]) {
      const m = machines.get(nameOf(metric));
      if (m) m[key] = value;
    }
  }
  const failed = new Map();
  for (const { metric } of answers.failed) failed.set(nameOf(metric), [...(failed.get(nameOf(metric)) || []), metric.name]);
  const rows = [...machines.values()].sort((a, b) => b.down.length - a.down.length || a.name.localeCompare(b.name));
  if (!rows.length) {
    // Right after the start no target is known yet, though jobs are configured.
    const configured = (await get('status/config')).yaml.includes('\n- job_name:');
    return h('div', {}, h('h1', {}, 'Machines'), card('', configured
      ? h('p', {}, 'The first scrape is on its way; figures appear within half a minute. ', h('a', { href: `${prefix}/targets` }, 'Targets'), ' shows how it goes.')
      : h('p', {}, 'Nothing is scraped. A configuration with scrape_configs changes that; without any configuration this server scrapes itself and its own machine.')));
  }
  const down = rows.filter((m) => m.down.length);
  const units = [...failed.values()].flat().length;
  const problems = [
    down.length && status('bad', `${down.length} with exporters down`), units && status('warn', `${units} failed units`),
    answers.alerts.length && h('a', { href: `${prefix}/alerts` }, status('bad', `${answers.alerts.length} alerts firing`)),
  ].filter(Boolean);
  const chosen = new URLSearchParams(url.search).get('machine') || rows[0].name;
  const list = table(['Status', 'Machine', ['CPU', 'num'], ['Memory', 'num'], ['Fullest disk', 'num'], ['Network', 'num'], ['Load', 'num'], ['Up for', 'num']],
    rows.map((m) => [
      m.down.length === m.jobs.length ? status('bad', 'down') : m.down.length ? status('warn', `${m.down.join(', ')} down`) : failed.has(m.name) ? status('warn', 'failed units') : status('ok', 'healthy'),
      h('a', { href: `?machine=${encodeURIComponent(m.name)}`, 'aria-current': m.name === chosen && 'true' }, m.name),
      bar(m.cpu), bar(m.memory, 0.9, 0.95), bar(m.disk, 0.9, 0.97),
      m.net === undefined ? '–' : bytesPerSecond(m.net), m.load === undefined ? '–' : number(m.load), m.uptime === undefined ? '–' : duration(m.uptime),
    ]), { cards: true });
  return h('div', {}, h('h1', {}, rows.length === 1 ? 'This machine' : `${rows.length} machines`),
    h('section', { class: 'card calm' }, problems.length ? problems.flatMap((p) => [p, ' ']) : status('ok', `All healthy, checked ${new Date().toLocaleTimeString()}`)),
    card('', list),
    failed.has(chosen) && card('Failed units', h('ul', {}, failed.get(chosen).map((u) => h('li', {}, h('code', {}, u), ' ', h('span', { class: 'dim' }, `systemctl status ${u}`))))),
    await details(chosen, answers.up.find((e) => nameOf(e.metric) === chosen)?.metric.machine ? `machine=${quote(chosen)}` : `instance=~${quote(`${chosen.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')}(:[0-9]+)?`)}`));
}

async function details(name, m) {
  const panels = [
    ['CPU', `sum by (mode) (rate(node_cpu_seconds_total{${m},mode!="idle"}[2m])) / scalar(count(node_cpu_seconds_total{${m},mode="idle"}))`, percent, (x) => x.mode],
    ['Memory', `label_replace(node_memory_MemTotal_bytes{${m}} - node_memory_MemAvailable_bytes{${m}}, "what", "used", "", "") or label_replace(node_memory_Cached_bytes{${m}}, "what", "cache", "", "") or label_replace(node_memory_MemTotal_bytes{${m}}, "what", "total", "", "")`, bytes, (x) => x.what],
    ['Network', `sum by (device) (rate(node_network_receive_bytes_total{${m},${nic}}[2m])) or label_replace(sum by (device) (rate(node_network_transmit_bytes_total{${m},${nic}}[2m])), "way", "sent", "", "")`, bytesPerSecond, (x) => `${x.device} ${x.way || 'received'}`],
    ['Disk throughput', `sum by (device) (rate(node_disk_read_bytes_total{${m}}[2m])) or label_replace(sum by (device) (rate(node_disk_written_bytes_total{${m}}[2m])), "way", "written", "", "")`, bytesPerSecond, (x) => `${x.device} ${x.way || 'read'}`],
    ['File systems', `max by (mountpoint) (1 - node_filesystem_avail_bytes{${m},${fs}} / (node_filesystem_size_bytes > 0))`, percent, (x) => x.mountpoint],
    ['Stalled by pressure', `label_replace(rate(node_pressure_cpu_waiting_seconds_total{${m}}[2m]), "what", "CPU", "", "") or label_replace(rate(node_pressure_memory_stalled_seconds_total{${m}}[2m]), "what", "memory", "", "") or label_replace(rate(node_pressure_io_stalled_seconds_total{${m}}[2m]), "what", "I/O", "", "")`, percent, (x) => x.what],
  ];
  const answers = await Promise.all(panels.map(([, query]) => range(query, 3600)));
  // A server that is younger than an hour shows its life so far.
  const first = Math.min(...answers.flatMap((a) => a.result.map((l) => l.points[0]?.[0] ?? Infinity)));
  const drawn = panels.map(([title, , format, name], i) => {
    const answer = answers[i];
    if (!answer.result.length) return null; // no such hardware: no panel
    if (first > answer.start + 600) answer.start = Math.min(first, answer.end - 300);
    return card(title, chart(answer, { format, name, binary: format !== percent }));
  });
  return h('div', {}, h('h1', {}, `${name}, ${first > Date.now() / 1000 - 3000 ? 'since this server knows it' : 'last hour'}`), h('div', { class: 'grid' }, drawn));
}

/** Prometheus' own parameters: g0.expr, g0.tab (1 table, 0 graph), g0.range_input, g0.end_input, g0.moment_input, g0.step_input. */
export async function query(url, go) {
  const p = new URLSearchParams(url.search);
  const v = (k, d = '') => p.get(`g0.${k}`) ?? d;
  const tab = ['0', 'graph'].includes(v('tab', '1')) ? 'graph' : 'table';
  const expr = h('textarea', { id: 'expr', name: 'expr', value: v('expr'), 'aria-label': 'Expression', placeholder: 'up', spellcheck: 'false', autocapitalize: 'off' });
  const rangeInput = h('input', { name: 'range', value: v('range_input', '1h'), size: 6, 'aria-label': 'Range' });
  const metrics = h('input', { list: 'metrics', placeholder: 'Insert a metric…', 'aria-label': 'Insert a metric', onchange: (e) => { expr.value += e.target.value; e.target.value = ''; expr.focus(); } });
  const list = h('datalist', { id: 'metrics' });
  get('label/__name__/values').then((names) => list.append(...names.map((n) => h('option', { value: n })))).catch(() => {});
  const submit = (to) => {
    const q = new URLSearchParams(p);
    q.set('g0.expr', expr.value);
    q.set('g0.tab', (to || tab) === 'graph' ? '0' : '1');
    q.set('g0.range_input', rangeInput.value);
    go(`${prefix}/query?${q}`);
  };
  expr.addEventListener('keydown', (e) => { if (e.key === 'Enter' && !e.shiftKey) { e.preventDefault(); submit(); } });
  const form = h('form', { class: 'query', onsubmit: (e) => { e.preventDefault(); submit(); } }, expr, h('button', {}, 'Run'),
    ['table', 'graph'].map((t) => h('button', { type: 'button', class: 'plain', 'aria-pressed': String(t === tab), onclick: () => submit(t) }, t[0].toUpperCase() + t.slice(1))),
    tab === 'graph' && rangeInput, metrics, list);
  const out = h('div', {});
  if (v('expr').trim()) {
    try {
      out.append(tab === 'graph' ? await graph(v) : await instant(v));
    } catch (e) {
      if (e.unreachable) throw e;
      out.append(card('', h('p', { class: 'error', role: 'alert' }, e.message)));
    }
  }
  return h('div', {}, h('h1', {}, 'Query'), card('', form), out);
}

const notices = (list) => list.map((w) => h('p', { class: 'status warn' }, `▲ ${w}`));

async function instant(v) {
  const params = { query: v('expr') };
  const at = Date.parse(`${v('moment_input').replace(' ', 'T')}Z`) / 1000;
  if (at) params.time = at;
  const body = await ask('query', params);
  const { resultType, result } = body.data;
  const text = (e) => (e.value ? e.value[1] : e.values ? e.values.map(([t, x]) => `${x} @${t}`).join('\n') : JSON.stringify(e.histogram ?? e.histograms));
  const rows = resultType === 'scalar' || resultType === 'string' ? [[resultType, result[1]]] : result.slice(0, 2000).map((e) => [seriesName(e.metric), text(e)]);
  return card(`${rows.length} of ${rows.length < 2000 ? rows.length : result.length} rows`, ...notices([...(body.warnings || []), ...(body.infos || [])]),
    rows.length ? table([['Series', 'mono wrap'], ['Value', 'num']], rows) : h('p', { class: 'dim' }, 'Empty result.'));
}

async function graph(v) {
  const seconds = parseDuration(v('range_input', '1h'));
  if (!(seconds > 0)) throw new Error(`The range ${quote(v('range_input'))} is no duration such as 30m, 6h or 7d.`);
  const step = Number(v('step_input')) || Math.max(1, Math.ceil(seconds / 250));
  const end = Date.parse(`${v('end_input').replace(' ', 'T')}Z`) / 1000 || Math.floor(Date.now() / 1000 / step) * step;
  const answer = await matrix(v('expr'), end - seconds, end, step);
  return card(`${answer.result.length} series`, ...notices(answer.warnings), chart(answer, { min: null }));
}

export async function targets() {
  const [{ activeTargets }, pools] = await Promise.all([get('targets', { state: 'active' }), get('scrape_pools')]);
  const kind = { up: 'ok', down: 'bad', unknown: 'off' };
  return h('div', {}, h('h1', {}, `${activeTargets.length} targets in ${pools.scrapePools.length} jobs`), pools.scrapePools.map((job) => {
    const mine = activeTargets.filter((t) => t.scrapePool === job);
    return card(`${job} (${mine.filter((t) => t.health === 'up').length} of ${mine.length} up)`, table(['Health', ['Address', 'mono wrap'], ['Labels', 'wrap'], 'Last scrape', ['Took', 'num'], ['Error', 'error']],
      mine.map((t) => [status(kind[t.health] || 'off', t.health), t.scrapeUrl, labels(t.labels), t.lastScrape.startsWith('0001') ? 'not yet' : new Date(t.lastScrape).toLocaleTimeString(), duration(t.lastScrapeDuration), t.lastError])));
  }));
}

export async function alerts() {
  const { alerts: list } = await get('alerts');
  const rows = list.sort((a, b) => a.state.localeCompare(b.state)).map((a) => [
    a.state === 'firing' ? status('bad', 'firing') : status('warn', a.state), a.labels.alertname, labels(Object.fromEntries(Object.entries(a.labels).filter(([k]) => k !== 'alertname'))),
    a.annotations.summary || a.annotations.description || '', new Date(a.activeAt).toLocaleString(), number(Number(a.value))]);
  return h('div', {}, h('h1', {}, 'Alerts'), card('', rows.length ? table(['State', 'Alert', ['Labels', 'wrap'], ['Summary', 'wrap'], 'Since', ['Value', 'num']], rows) : status('ok', 'No alert is pending or firing')));
}

export async function rules() {
  const { groups } = await get('rules');
  if (!groups.length) return h('div', {}, h('h1', {}, 'Rules'), card('', h('p', {}, 'No rule files are configured.')));
  return h('div', {}, h('h1', {}, 'Rules'), groups.map((g) => card(`${g.name} (${g.file}, every ${duration(g.interval)})`, table(['Health', 'Rule', ['Expression', 'mono wrap'], ['Took', 'num'], ['Error', 'error']],
    g.rules.map((r) => [status(r.health === 'ok' ? 'ok' : r.health === 'err' ? 'bad' : 'off', r.health), r.name, h('a', { href: `${prefix}/query?${new URLSearchParams({ 'g0.expr': r.query, 'g0.tab': '1' })}` }, r.query), duration(r.evaluationTime), r.lastError || ''])))));
}

const facts = (map) => table(['', ['', 'mono wrap']], Object.entries(map).map(([k, v]) => [k, typeof v === 'object' ? JSON.stringify(v) : String(v)]));

export async function statusPage() {
  const [run, build] = await Promise.all([get('status/runtimeinfo'), get('status/buildinfo')]);
  return h('div', {}, h('h1', {}, 'Status'), card('Runtime', facts(run)), card('Embedded Prometheus', facts(build)), card('More', h('p', {}, ...['config', 'flags', 'tsdb-status'].flatMap((x) => [h('a', { href: `${prefix}/${x}` }, x), ' ']))));
}

export const flags = async () => h('div', {}, h('h1', {}, 'Flags'), card('', facts(await get('status/flags'))));
export const config = async () => h('div', {}, h('h1', {}, 'Configuration'), card('', h('pre', {}, (await get('status/config')).yaml)));

export async function tsdb() {
  const d = await get('status/tsdb');
  const part = (title, list, unit) => card(title, table(['Name', ['', 'num']], list.map((e) => [e.name, unit ? unit(e.value) : String(e.value)])));
  return h('div', {}, h('h1', {}, 'TSDB'), card('Head', facts({ ...d.headStats, minTime: dateTime(d.headStats.minTime / 1000), maxTime: dateTime(d.headStats.maxTime / 1000) })),
    h('div', { class: 'grid' }, part('Series per metric', d.seriesCountByMetricName), part('Series per label pair', d.seriesCountByLabelValuePair), part('Values per label', d.labelValueCountByLabelName), part('Memory per label', d.memoryInBytesByLabelName, bytes)));
}
