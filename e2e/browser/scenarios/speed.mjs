// How fast the pages are with a large fleet, for e2e/bench: not a test. Times are
// milliseconds; "after the data" counts from the end of the last answer that a
// page waited for.
export default async function speed(browser, { machine }) {
  const figures = {};
  const page = await browser.open('about:blank', { settled: false });
  const p = page.p;
  await p.addInitScript(watch);

  await page.goto('/', false);
  let at = await drawn(p, 'fleet');
  figures['Fleet: drawn after the data'] = at.after;
  await page.settle();
  figures['Fleet: longest task'] = await longest(p);
  figures['Fleet: kB of API, first view'] = (await traffic(p)) / 1000;
  // A minute is two refreshes.
  for (let i = 0; i < 2; i++) {
    await p.waitForTimeout(15_000); // what machines say has changed
    await p.keyboard.press('r');
    await page.settle();
  }
  figures['Fleet: kB of API, two refreshes'] = (await traffic(p)) / 1000 - figures['Fleet: kB of API, first view'];
  const frames = await p.evaluate(scroll, 60);
  figures['Fleet: frame while scrolling, p95'] = frames.at(Math.floor(frames.length * 0.95));
  figures['Fleet: frame while scrolling, worst'] = frames.at(-1);

  await page.goto('/services?view=units&type=all', false);
  at = await drawn(p, 'units');
  figures['Services, all types: slowest query'] = at.slowest;
  figures['Services, all types: drawn after the data'] = at.after;

  // Thirty days that are full: answers of one point are drawn out over the range,
  // since the fleet is a few minutes old.
  await p.route('**/api/v1/query_range**', full);
  await page.goto(`/m/${encodeURIComponent(machine)}?range=30d`, false);
  at = await drawn(p, 'charts');
  await page.settle();
  Object.assign(at, await p.evaluate(() => window.watched.charts()));
  figures['Machine, 30 days: charts drawn'] = at.charts;
  figures['Machine, 30 days: a chart after its data, worst'] = at.worst;
  figures['Machine, 30 days: longest task'] = await longest(p);
  await p.unroute('**/api/v1/query_range**');

  await page.goto(`/explore?g0.expr=${encodeURIComponent('systemd_unit_state')}`, false);
  at = await drawn(p, 'table');
  figures['Explore, table: series'] = Number((await page.text('.runline')).match(/([\d,]+) series/)?.[1]?.replaceAll(',', ''));
  figures['Explore, table: drawn after the data'] = at.after;
  figures['Explore, table: longest task'] = await longest(p);

  await page.goto(`/explore?g0.tab=graph&range=15m&g0.expr=${encodeURIComponent('systemd_unit_state')}`, false);
  at = await drawn(p, 'graph');
  figures['Explore, graph of as many: drawn after the data'] = at.after;
  figures['Explore, graph of as many: longest task'] = await longest(p);
  return figures;
}

// watch runs in the page before anything else.
function watch() {
  const w = (window.watched = { tasks: [], answers: [], strokes: [] });
  new PerformanceObserver((l) => w.tasks.push(...l.getEntries().map((e) => e.duration))).observe({ type: 'longtask', buffered: true });
  const rows = (of) => document.querySelectorAll(`${of} tbody tr`).length > 5;
  w.shown = {
    fleet: () => rows('main') && /\d+ %/.test(document.querySelector('main tbody').innerText),
    units: () => rows('main'),
    charts: () => document.querySelectorAll('main canvas').length > 3,
    table: () => rows('.result'),
    graph: () => document.querySelector('.result canvas'),
  };
  const text = Response.prototype.text;
  Response.prototype.text = async function () {
    const out = await text.call(this);
    if (this.url.includes('/query_range')) w.answers.push(performance.now());
    return out;
  };
  const stroke = CanvasRenderingContext2D.prototype.stroke;
  CanvasRenderingContext2D.prototype.stroke = function (...a) {
    const last = w.strokes.at(-1);
    const now = performance.now();
    if (last?.canvas === this.canvas) last.end = now;
    else w.strokes.push({ canvas: this.canvas, end: now });
    return stroke.apply(this, a);
  };
  // A chart is drawn when its last line is; the answer that it waited for is the
  // last one before its first.
  w.charts = () => {
    const waits = w.strokes.map((s) => s.end - Math.max(...w.answers.filter((t) => t <= s.end))).filter(Number.isFinite);
    return { charts: new Set(w.strokes.map((s) => s.canvas)).size, worst: Math.max(...waits) };
  };
}

// drawn waits for what the page shows, and looks at each frame.
const drawn = (p, what) => p.evaluate(async (what) => {
  while (!window.watched.shown[what]()) await new Promise(requestAnimationFrame);
  await new Promise(requestAnimationFrame); // it is on the screen
  const now = performance.now();
  const api = performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/') && e.responseEnd > 0 && e.responseEnd <= now);
  return { after: now - Math.max(...api.map((e) => e.responseEnd)), slowest: Math.max(...api.map((e) => e.duration)) };
}, what);

const longest = (p) => p.evaluate(() => Math.max(0, ...window.watched.tasks));

// traffic is how many bytes the API has sent so far.
const traffic = (p) => p.evaluate(() => performance.getEntriesByType('resource').filter((e) => e.name.includes('/api/')).reduce((n, e) => n + e.transferSize, 0));

async function scroll(steps) {
  const frames = [];
  let last = performance.now();
  for (let i = 0; i < steps; i++) {
    window.scrollBy(0, 120); // a brisk turn of a wheel
    await new Promise(requestAnimationFrame);
    const now = performance.now();
    frames.push(now - last);
    last = now;
  }
  return frames.sort((a, b) => a - b);
}

// full answers a range query with a value at every step.
async function full(route) {
  const url = new URL(route.request().url());
  const form = new URLSearchParams(route.request().postData() ?? url.search);
  const [start, end, step] = ['start', 'end', 'step'].map((k) => Number(form.get(k)));
  const now = new URLSearchParams({ query: form.get('query'), start: Math.floor(Date.now() / 1000), end: Math.floor(Date.now() / 1000), step: 15 });
  const answer = await route.fetch({ url: `${url.origin}${url.pathname}`, method: 'POST', postData: now.toString(), headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  const body = await answer.json();
  for (const s of body.data?.result ?? []) {
    const value = Number(s.values?.[0]?.[1] ?? 0);
    s.values = [];
    for (let t = start, i = 0; t <= end; t += step, i++) s.values.push([t, String(value * (1 + Math.sin(i) / 10))]);
  }
  await route.fulfill({ json: body });
}
