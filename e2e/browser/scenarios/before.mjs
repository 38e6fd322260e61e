// What somebody asks who was woken by an alert, each answered by at most three interactions.
import { PHONE } from '../browser.mjs';

export default async function before(browser, { base }) {
  const page = await browser.open('/');
  const { p } = page;
  let acts = 0;
  const act = async (what) => {
    acts++;
    await what;
  };
  const begin = async () => {
    await page.goto('/');
    acts = 0;
  };
  const answered = (question) => page.check(acts <= 3, `"${question}" takes ${acts} interactions`);
  const dialog = p.getByRole('dialog');

  // Somebody has noted what they did.
  await page.goto('/changes');
  await p.getByRole('button', { name: 'Add note' }).click();
  await dialog.getByRole('button', { name: 'Add note' }).click();
  await page.see('Say what happened');
  await dialog.getByLabel('What happened').fill('New disk <b id=pwned>slot 3</b>\nfrom the shelf');
  await dialog.getByLabel('Machines').fill('box bxo');
  await page.see('Not a known machine: bxo');
  await dialog.getByLabel('Machines').fill('box');
  await dialog.getByLabel('Author').fill('ada');
  await page.accessible();
  await dialog.getByRole('button', { name: 'Add note' }).click();
  await dialog.waitFor({ state: 'detached' });
  await page.see('New disk <b id=pwned>slot 3</b>', 'ada: from the shelf');
  page.check(await p.locator('#pwned').count() === 0, 'a note becomes markup');
  await p.locator('main tr', { hasText: 'slot 3' }).first().click();
  await page.see('Author ada');
  await p.keyboard.press('Escape');
  // And a program, earlier.
  const note = { text: 'NixOS deployed, rev 9c1f2a3', machines: ['box'], time: Date.now() / 1000 - 1800 };
  const sent = await fetch(`${base}/api/clanmon/v1/events`, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(note) });
  page.check(sent.ok, `the note is refused: ${await sent.text()}`);

  // What changed before this alert?
  await begin();
  await act(p.getByRole('link', { name: /^Alerts/ }).first().click());
  await act(p.locator('main .alertrow a.open', { hasText: 'box' }).filter({ hasNotText: 'vm' }).first().click());
  await page.see('Two hours before', 'NixOS deployed, rev 9c1f2a3', 'What else moved', 'Other alerts at that time');
  answered('what changed before this alert');
  await dialog.locator('section.chart canvas').first().waitFor();
  await page.see('What the rule compares');
  await page.settle();
  await page.accessible();
  await page.shoot('incident');
  await dialog.getByRole('button', { name: 'Silence rule' }).click();
  await page.see('Covers matching alerts of all machines');

  // The same in Explore and on a board: one request for all charts, and whose it is.
  const board = `${base}/api/clanmon/v1/boards/marked`;
  const chart = (x) => ({ type: 'chart', title: `Up ${x}`, x, y: 0, w: 12, h: 8, queries: [{ expr: 'up' }] });
  const stored = await fetch(board, { method: 'PUT', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify({ version: 1, title: 'Marked', panels: [chart(0), chart(12)] }) });
  page.check(stored.ok, `the board is refused: ${await stored.text()}`);
  let asked = 0;
  p.on('request', (r) => { if (r.url().includes('/api/clanmon/v1/events')) asked++; });
  for (const path of ['/explore?g0.expr=up&g0.tab=graph&g1.expr=up&g1.tab=graph', '/boards/marked']) {
    asked = 0;
    const since = Date.now();
    await page.goto(path);
    await p.locator('main canvas').nth(1).waitFor();
    await p.getByRole('button', { name: /^In this range/ }).click();
    await p.locator('.events li', { hasText: 'box: New disk' }).waitFor();
    const most = 1 + Math.floor((Date.now() - since) / 30_000); // and again while the page stays
    page.check(asked <= most, `${path} asks ${asked} times for events`);
    await page.settle();
    await page.accessible();
  }
  await p.getByRole('button', { name: 'Hide in charts' }).click();
  await page.reload();
  await p.getByRole('button', { name: 'Show in charts' }).click();
  await p.getByRole('button', { name: 'Hide in charts' }).waitFor();
  await page.shoot('marks');
  await fetch(board, { method: 'DELETE', headers: { 'If-Match': '*' } });

  // Is my backup timer running? The units of the box have no timer.
  const now = Date.now() / 1000;
  const timer = { machine: 'box', name: 'backup.service', kind: 'timer', timer: 'backup.timer', backup: '', lastSuccess: now - 3600, lastRun: now - 3612, lastResult: 'success', exitCode: 0, duration: 12, usual: null, next: now + 82800, overdue: false, state: 'ok', gap: 86400 };
  await p.route('**/api/clanmon/v1/jobs*', (r) => r.fulfill({ json: { status: 'success', data: { jobs: [timer] } } }));
  await begin();
  await act(p.getByRole('link', { name: 'Jobs' }).first().click());
  await act(p.getByLabel('Filter jobs').fill('backup'));
  const job = p.locator('main tbody tr', { hasText: 'backup' }).first();
  await job.waitFor();
  await page.see(/OK backup timer box .* in \d+ h/);
  answered('is my backup timer running');

  // Why is this machine not listed?
  await begin();
  await act(p.getByLabel('Filter machines').fill('nosuch'));
  await page.see('Discovery has not found “nosuch” either');
  await act(p.getByRole('link', { name: 'Discovery' }).first().click());
  await p.waitForURL((u) => u.searchParams.get('tab') === 'discovery' || u.pathname.includes('discovery'));
  answered('why is this machine not listed');

  // A viewer sees why there is no note of theirs.
  await p.route('**/api/clanmon/v1/whoami', (r) => r.fulfill({ json: { status: 'success', data: { name: 'vi', via: 'tailscale', role: 'viewer', configured: true, changesRefused: 'changes are for operators, and vi has the role viewer' } } }));
  await page.goto('/changes');
  await page.see('vi');
  const add = p.getByRole('button', { name: 'Add note' });
  page.check(await add.isDisabled() && /has the role viewer/.test(await add.getAttribute('title')), 'a viewer may add a note');

  const small = await browser.open('/changes', { size: PHONE });
  await small.see('New disk');
  await small.fits();
  await small.accessible();
  await small.p.locator('.card', { hasText: 'slot 3' }).first().tap();
  await small.see('from the shelf');
  await small.close();
}
