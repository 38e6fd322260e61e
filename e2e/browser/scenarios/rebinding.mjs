// A page of another site whose name has come to point to this server, as DNS
// rebinding does it, and one that posts across sites.
export default async function rebinding(browser, { evil, base, silences }) {
  const page = await browser.open(silences);
  page.check((await page.text('body')).startsWith('['), 'silences cannot be read by the right name');
  page.expectTrouble(); // 403 is what is wanted
  await page.p.goto(evil + silences);
  const refused = await page.text('body');
  page.check(refused.includes('--web.allowed-host='), `by a foreign name: ${refused}`);
  const ask = (target, init) => page.p.evaluate(async ([url, options]) => {
    try { return (await fetch(url, options)).status; } catch { return 'refused by the browser'; }
  }, [target, init]);
  page.check(await ask('/api/v2/silences', { headers: { 'X-Forwarded-Host': 'localhost', Accept: 'application/json' } }) === 403, 'a rebound page reads silences');
  page.check(await ask('/api/v2/silences', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }) === 403, 'a rebound page writes silences');

  // Now across sites, to the right name: the browser does send what needs no
  // question first.
  for (const path of ['/api/v2/silences', '/-/reload', '/api/clanmon/v1/receivers/test', '/api/v2/alerts']) {
    const [answer] = await Promise.all([
      page.p.waitForResponse((r) => r.url() === base + path && r.request().method() === 'POST'),
      ask(base + path, { method: 'POST', mode: 'no-cors', body: '{}' }),
    ]);
    page.check(answer.status() === 403, `POST ${path} from another site: ${answer.status()}`);
  }
  // Nor may such a page read: more than a Prometheus configuration is given here.
  const query = await ask(`${base}/api/v1/query`, { method: 'POST', headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: 'query=up' });
  page.check(query === 'refused by the browser', `a page of another site may query: ${query}`);
}
