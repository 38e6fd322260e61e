// What administrators ask, each answered by at most three interactions.
import { readFileSync } from 'node:fs';
import { PATIENCE, PHONE } from '../browser.mjs';

export default async function questions(browser, { base }) {
  const page = await browser.open('/');
  const { p } = page;
  let acts = 0;
  const act = async (what) => {
    acts++;
    await what;
  };
  const begin = async () => {
    await page.goto('/');
    await page.see('alpha', 'beta');
    acts = 0;
  };
  const answered = (question) => page.check(acts <= 3, `"${question}" takes ${acts} interactions`);

  // Compare the CPU of two machines over last week.
  await begin();
  await act(p.getByRole('checkbox', { name: 'Select alpha' }).check());
  await act(p.getByRole('checkbox', { name: 'Select beta' }).check());
  await act(p.getByRole('button', { name: '7d' }).click());
  await p.waitForURL((u) => u.pathname === '/compare' && u.searchParams.get('range') === '7d');
  const cpu = p.locator('section.chart[aria-label="CPU"]');
  await cpu.locator('canvas').waitFor();
  const legend = async (of = cpu) => (await of.locator('.legend button').allInnerTexts()).join(' | ');
  await until(async () => /alpha/.test(await legend()) && /beta/.test(await legend()), async () => page.problem(`the chart has no line of each machine: ${await legend()}`));
  answered('compare two machines');
  page.check(p.url().includes('m=alpha&m=beta'), `the link does not name the machines: ${p.url()}`);
  await page.shoot('compare');

  // What a step of an hour hides is drawn as a band, at the pointer stand the values, and
  // the menu saves both.
  const band = p.waitForRequest((r) => /max_over_time.*min_over_time/s.test(decodeURIComponent((r.url() + (r.postData() ?? '')).replaceAll('+', ' '))));
  await page.reload();
  await band;
  const over = await cpu.locator('.u-over').boundingBox();
  await p.mouse.move(over.x + over.width / 2, over.y + over.height / 2);
  await until(async () => /alpha \d+ %/.test((await cpu.locator('.tip').innerText().catch(() => '')).replace(/\s+/g, ' ')), async () => page.problem('no values at the pointer'));
  const save = async (what) => {
    const file = p.waitForEvent('download');
    await cpu.getByRole('button', { name: 'Menu of CPU' }).click();
    await cpu.getByRole('button', { name: `Download ${what}` }).click();
    return file;
  };
  const csv = await save('CSV');
  const rows = readFileSync(await csv.path(), 'utf8').split('\r\n');
  page.check(/^cpu-\d{4}-\d\d-\d\d\.csv$/.test(csv.suggestedFilename()), `the file is called ${csv.suggestedFilename()}`);
  page.check(rows[0] === 'time,alpha,beta' && rows.length > 100 && rows.some((r) => /^\d{4}-.*Z,0\.\d+,0\.\d+$/.test(r)), `the CSV is ${rows.slice(0, 3)}`);
  const png = readFileSync(await (await save('PNG')).path());
  page.check(png.subarray(1, 4).toString() === 'PNG' && png.length > 3000, `the PNG has ${png.length} bytes`);

  // Large, a table says min, mean, max and last, and is sorted by them.
  await cpu.getByRole('button', { name: 'Menu of CPU' }).click();
  await cpu.getByRole('button', { name: 'Full screen' }).click();
  const large = p.locator('[role="dialog"] .stats');
  await large.getByRole('button', { name: 'max' }).click();
  await large.locator('th[aria-sort="descending"]', { hasText: 'max' }).waitFor();
  await p.keyboard.press('Escape');

  // The same time yesterday, and the link keeps all of it.
  await cpu.getByRole('button', { name: 'Menu of CPU' }).click();
  await cpu.getByRole('button', { name: 'Same time yesterday' }).click();
  await until(async () => /alpha, yesterday/.test(await legend()), async () => page.problem(`no line of yesterday: ${await legend()}`));
  const link = p.url();
  const other = await browser.open('about:blank', { settled: false });
  await other.goto(link);
  await other.see('alpha, yesterday', 'beta, yesterday', 'Last 7d, and yesterday');
  await other.p.locator('a', { hasText: /^alpha$/ }).first().click();
  await other.p.waitForURL((u) => u.pathname === '/m/alpha' && u.searchParams.get('past') === '1d');
  await other.close();

  // Without a mouse: down, select, down, select, compare.
  await begin();
  for (const key of ['j', 'x', 'j', 'x', 'c']) await p.keyboard.press(key);
  await p.waitForURL((u) => u.pathname === '/compare' && u.searchParams.getAll('m').length === 2);
  await begin();
  page.check(await p.getByRole('checkbox', { checked: true }).count() === 0, 'ticks stay after they were used');

  // By the palette: the same question, and two more.
  const ask = async (text) => {
    await act(p.keyboard.press('Control+k'));
    await act(p.locator('[role="combobox"]').fill(text));
    const first = p.locator('[role="option"]').first();
    await first.waitFor();
    return first;
  };
  await begin();
  await ask('compare alpha beta 7d');
  await p.locator('[role="option"]', { hasText: 'Compare alpha, beta, last 7d' }).waitFor();
  await act(p.keyboard.press('Enter'));
  await p.waitForURL((u) => u.pathname === '/compare' && u.search.includes('m=alpha&m=beta') && u.searchParams.get('range') === '7d');
  answered('compare two machines, by the palette');

  // Which unit eats memory on alpha over a day.
  await begin();
  await ask('alpha units memory 24h');
  await p.locator('[role="option"]', { hasText: 'alpha: Units by memory, last 24h' }).waitFor();
  await act(p.keyboard.press('Enter'));
  const units = p.locator('[role="dialog"] .stats tbody tr');
  await units.first().waitFor();
  page.check((await units.first().innerText()).includes('postgresql.service'), `the first unit is ${await units.first().innerText()}`);
  answered('which unit eats memory');
  await page.shoot('units');

  // Which machines need a reboot?
  await begin();
  await act(p.getByRole('button', { name: /reboot needed/ }).first().click());
  await p.waitForURL((u) => u.searchParams.get('show') === 'reboot');
  const listed = async () => (await p.locator('main tbody tr').allInnerTexts()).join(' | ');
  await until(async () => /gamma/.test(await listed()) && !/alpha|beta/.test(await listed()), async () => page.problem(`machines that need a reboot are ${await listed()}`));
  answered('which machines need a reboot');

  // Mute beta for two hours.
  await begin();
  await ask('silence beta 2h new disk');
  await p.locator('[role="option"]', { hasText: 'Silence beta for 2h: new disk' }).waitFor();
  await act(p.keyboard.press('Enter'));
  await page.see(/beta is silenced until \d\d:\d\d/);
  answered('mute beta');
  const [silence] = await (await fetch(`${base}/api/v2/silences`)).json();
  const length = (Date.parse(silence.endsAt) - Date.now()) / 1000;
  page.check(silence.comment === 'new disk' && silence.matchers.length === 1 && silence.matchers[0].value === 'beta' && Math.abs(length - 7200) < 60, `the silence is ${JSON.stringify(silence)}`);
  await fetch(`${base}/api/v2/silence/${silence.id}`, { method: 'DELETE' });

  // What there is of a machine, and what somebody may not do, with the reason.
  await p.route('**/api/clanmon/v1/whoami', (r) => r.fulfill({ json: { status: 'success', data: { name: 'vi', via: 'tailscale', role: 'viewer', configured: true, changesRefused: 'changes are for operators, and vi has the role viewer' } } }));
  await begin();
  await page.see('vi');
  await ask('gamma');
  const options = async () => (await p.locator('[role="option"]').allInnerTexts()).map((t) => t.replace(/\s+/g, ' '));
  for (const want of ['gamma machine', 'gamma: Journal command', 'Copy ssh gamma command', 'Silence gamma for 2h changes are for operators'])
    await until(async () => (await options()).some((t) => t.startsWith(want)), async () => page.problem(`the palette does not offer ${want} but ${(await options()).join(' | ')}`));
  await p.locator('[role="option"]', { hasText: 'Silence gamma' }).click({ force: true });
  await page.see('vi has the role viewer');
  page.check((await (await fetch(`${base}/api/v2/silences`)).json()).filter((s) => s.status.state === 'active').length === 0, 'a viewer has silenced a machine');
  await p.keyboard.press('Escape');
  // What was chosen comes first the next time.
  await ask('gamma');
  await p.keyboard.press('Enter');
  await p.waitForURL((u) => u.pathname === '/m/gamma');
  await p.keyboard.press('Control+k');
  page.check((await p.locator('[role="option"]').first().innerText()).startsWith('gamma'), 'the palette forgets what was chosen');
  await p.keyboard.press('Escape');
  await p.unroute('**/api/clanmon/v1/whoami');

  // A chart has the limit of an alert as it was set, and leads to the rule.
  await page.goto('/m/alpha');
  const limit = p.locator('section.chart[aria-label="Memory"] .limit');
  await until(async () => (await limit.allInnerTexts()).join() === 'MemoryAlmostGone used above 5.59 GiB', async () => page.problem(`the limit of memory is ${await limit.allInnerTexts()}`));
  await limit.click();
  await p.waitForURL((u) => u.pathname === '/rules' && u.searchParams.get('q') === 'MemoryAlmostGone');

  // Ticks that a finger can hit.
  const small = await browser.open('/', { size: PHONE });
  await small.p.getByRole('button', { name: 'Select' }).tap();
  await small.p.getByRole('checkbox', { name: 'Select alpha' }).tap();
  await small.p.getByRole('checkbox', { name: 'Select gamma' }).tap();
  await small.touchable('.tick');
  await small.p.getByRole('button', { name: 'Compare' }).tap();
  await small.p.waitForURL((u) => u.pathname === '/compare');
  await small.see('alpha', 'gamma');
  await small.fits();
  await small.close();
}

// until waits for something that a page shows; late says what is missing.
async function until(is, late) {
  for (const begin = Date.now(); !(await is()); await new Promise((r) => setTimeout(r, 50)))
    if (Date.now() - begin > PATIENCE) return late();
}
