// A silence leaves a trace on what it mutes; the palette leads to what it names;
// a browser whose clock is wrong shows the same ages as any other; Back leads to
// where one was.
export default async function trace(browser, { base }) {
  const now = Date.now();
  const made = await (await fetch(`${base}/api/v2/silences`, {
    method: 'POST', headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ matchers: [{ name: 'machine', value: 'box', isRegex: false, isEqual: true }], startsAt: new Date(now - 1000).toISOString(), endsAt: new Date(now + 2 * 3600e3).toISOString(), createdBy: 'lin', comment: 'kernel upgrade' }),
  })).json();
  const known = async () => (await (await fetch(`${base}/api/clanmon/v1/fleet`)).text()).includes('kernel upgrade');
  while (!(await known())) await new Promise((r) => setTimeout(r, 100)); // the Go test has a limit
  const page = await browser.open('/');
  await page.p.locator('main tbody tr', { hasText: 'box' }).getByRole('button', { name: /until/ }).click();
  await page.see(/until .*\d\d:\d\d/, 'by lin', 'kernel upgrade', 'End silence');
  await page.p.keyboard.press('Escape');
  await page.goto('/m/box');
  await page.see(/Silenced/, /until .*\d\d:\d\d/, 'by lin', 'kernel upgrade');
  await page.shoot('silenced');
  await page.p.locator('li', { hasText: 'kernel upgrade' }).getByRole('button', { name: 'End silence' }).click();
  await page.p.getByText('kernel upgrade').waitFor({ state: 'detached' });
  const state = (await (await fetch(`${base}/api/v2/silence/${made.silenceID}`)).json()).status.state;
  page.check(state === 'expired', `End silence leaves it ${state}`);

  // The palette: a unit of any type, a metric, and nothing that does not exist.
  const find = async (text) => {
    await page.p.keyboard.press('Control+k');
    await page.p.locator('[role="combobox"]').fill(text);
    await page.p.locator('[role="option"]').first().waitFor();
  };
  await find('backup');
  await page.p.keyboard.press('Enter');
  await page.p.waitForURL((u) => u.pathname === '/services');
  await page.see('backup.timer');
  await page.dontSee(/No units match/);
  await find('node_memory_MemTotal');
  await page.p.keyboard.press('Enter');
  await page.p.waitForURL((u) => u.searchParams.get('g0.expr') === 'node_memory_MemTotal_bytes');
  await find('box');
  page.check(!/query/.test((await page.p.locator('[role="option"]').allInnerTexts()).join(' ')), 'the palette offers a query of no metric');
  await page.p.keyboard.press('Escape');
  await page.p.keyboard.press('Control+k');
  await page.p.locator('[role="combobox"]').fill('zebra-17');
  await page.see('No matches');
  await page.p.keyboard.press('Escape');
  await page.close();

  // Ten minutes fast, and ten minutes slow.
  for (const by of [600, -600]) {
    const wrong = await browser.open('about:blank', { settled: false });
    await wrong.p.addInitScript((ms) => {
      const Real = Date;
      window.Date = class extends Real {
        constructor(...a) { super(...(a.length ? a : [Real.now() + ms])); }
        static now() { return Real.now() + ms; }
      };
    }, by * 1000);
    await wrong.goto('/targets');
    await wrong.see(by > 0 ? /clock is (9|10) min ahead of/ : /clock is (9|10) min behind/);
    await wrong.see(/just now|\b\d+ s ago/);
    await wrong.dontSee(/\b(9|10|11) min ago/);
    await wrong.goto('/m/box');
    await wrong.see('CPU');
    await wrong.dontSee(/last sample \d+ min ago/i);
    await wrong.close();
  }

  // Back to the row that one came from.
  const small = await browser.open('/', { size: { width: 1000, height: 200 } });
  await small.p.evaluate(() => window.scrollTo(0, 1e4));
  const y = await small.p.evaluate(() => window.scrollY);
  small.check(y > 20, `nothing to scroll: ${y}`);
  await small.p.waitForTimeout(1000); // it is remembered a moment later
  await small.p.locator('main tbody a', { hasText: 'gone' }).first().evaluate((a) => a.click());
  await small.p.waitForURL((u) => u.pathname === '/m/gone');
  await small.p.goBack();
  await small.p.waitForURL((u) => u.pathname === '/');
  await small.p.waitForFunction((at) => Math.abs(window.scrollY - at) < 40, y);
  await small.close();

  // The password was changed while the page was open.
  const locked = await browser.open('/');
  await locked.see('box');
  locked.expectTrouble();
  await locked.p.route('**/api/**', (r) => r.fulfill({ status: 401, body: 'Unauthorized' }));
  await locked.p.keyboard.press('r');
  await locked.see('Log in again', /Was /);
  await locked.dontSee('healthy', 'Unauthorized');
}
