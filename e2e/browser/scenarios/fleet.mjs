// Fleet as tiles, and one silence for all machines that a filter shows.
import { PHONE, WIDE } from '../browser.mjs';

export default async function fleet(browser, { base }) {
  const silences = async () => (await fetch(`${base}/api/v2/silences`)).json();
  const page = await browser.open('/');

  // The view is in the link, and what is wrong comes first in each group.
  await page.p.getByRole('button', { name: 'Tiles' }).click();
  await page.p.locator('.machinetile').first().waitFor();
  page.check(new URL(page.p.url()).searchParams.get('view') === 'tiles', `the view is not in ${page.p.url()}`);
  await page.reload();
  // The machine of the server itself is there only while it has an alert, as on a busy one.
  const groups = await page.p.locator('.tilegroup').evaluateAll((all) => all.map((g) =>
    `${g.querySelector('h2').innerText.split(/\s/)[0]}: ${[...g.querySelectorAll('.machinetile')].map((t) => t.dataset.name).filter((n) => ['alpha', 'beta', 'gamma', 'gone'].includes(n)).join(' ')}`));
  page.check(JSON.stringify(groups) === JSON.stringify(['db: beta', 'web: gone alpha beta', 'no: gamma']), `groups are ${groups.join('; ')}`);
  const gone = page.p.getByRole('link', { name: /^gone: Down/ });
  page.check((await gone.count()) === 1, 'no link says that gone is down');
  await gone.hover();
  await page.p.locator('.tiletip', { hasText: 'Down' }).waitFor();

  // Arrow keys go from tile to tile, across groups; Enter opens the machine.
  await page.goto('/?view=tiles&q=web');
  await page.p.locator('.machinetile').first().focus();
  for (const [key, tile] of [['ArrowRight', 'web gone'], ['ArrowUp', 'db beta'], ['ArrowDown', 'web gone'], ['End', 'web beta'], ['Home', 'db beta'], ['ArrowRight', 'web gone'], ['ArrowRight', 'web alpha'], ['ArrowLeft', 'web gone'], ['ArrowRight', 'web alpha']]) {
    await page.p.keyboard.press(key);
    const at = await page.p.evaluate(() => `${document.activeElement.closest('.tilegroup')?.querySelector('h2').innerText.split(/\s/)[0]} ${document.activeElement.dataset.name}`);
    page.check(at === tile, `${key} leads to ${at}, not ${tile}`);
  }
  await page.p.keyboard.press('Enter');
  await page.p.waitForURL(/\/m\/alpha/);

  for (const [size, dark] of [[WIDE, false], [WIDE, true], [PHONE, false], [PHONE, true]]) {
    const seen = await browser.open('/?view=tiles', { size, dark });
    await seen.p.locator('.machinetile').first().waitFor();
    await seen.accessible(dark ? 'dark' : 'light');
    await seen.fits();
    if (size === PHONE) await seen.touchable('.machinetile');
    await seen.close();
  }

  // Everything is not silenced by the way; what a filter shows is, by one silence.
  await page.goto('/?view=tiles');
  await page.dontSee(/Silence \d/);
  await page.goto('/?view=tiles&q=alph');
  await silence(page, 'Silence 1 machine', 'by name', /Covers every alert of alpha\./);
  await page.goto('/?show=down');
  await silence(page, 'Silence 1 machine', 'by state', /Covers every alert of gone\./);
  await page.goto('/?tag=web');
  await silence(page, 'Silence 3 machines', 'by tag', /Covers every alert of alpha, beta, gone\./);
  // One step takes it back.
  await page.p.locator('.toast', { hasText: /Silenced until .*: tags=~/ }).getByRole('button', { name: 'Undo' }).click();
  let made;
  for (let tries = 0; tries < 150; tries++) {
    made = await silences();
    if (made.find((s) => s.comment === 'by tag')?.status.state === 'expired') break;
    await page.p.waitForTimeout(100); // between two looks
  }
  const what = Object.fromEntries(made.map((s) => [s.comment, `${s.status.state} ${s.matchers.map((m) => `${m.name}${m.isRegex ? '=~' : '='}${m.value}`).join()}`]));
  page.check(what['by name'] === 'active machine=alpha' && what['by state'] === 'active machine=gone' && what['by tag'] === 'expired tags=~.*,web,.*', `silences are ${JSON.stringify(what)}`);

  // Several machines that have no tag in common.
  await page.goto('/?q=a');
  await silence(page, /Silence \d machines/, 'by names', /Covers every alert of alpha, beta, gamma/);
  const named = (await silences()).find((s) => s.comment === 'by names')?.matchers;
  page.check(named?.length === 1 && named[0].isRegex && named[0].value.startsWith('alpha|beta|gamma'), `the silence of names is ${JSON.stringify(named)}`);

  // The form is about what was shown when it was opened, whatever the rows do then. The page
  // polls: the server's stream does not know of rows that are changed here.
  await page.p.route('**/api/clanmon/v1/stream*', (route) => route.fulfill({ status: 204 }));
  await page.goto('/?q=a');
  await page.p.getByRole('button', { name: /Silence \d machines/ }).click();
  const form = page.p.locator('[role="dialog"]');
  const title = form.getByRole('heading', { name: /^Silence \d machines$/ });
  await title.waitFor();
  const opened = await title.innerText();
  await page.p.route('**/api/clanmon/v1/fleet*', async (route) => {
    const response = await route.fetch();
    await route.fulfill({ response, json: { ...(await response.json()), data: { ...(await response.json()).data, full: true, rows: [], gone: null } } });
  });
  await page.see('No machines');
  page.check(await title.count() === 1 && (await title.innerText()) === opened, `the form of ${opened} did not stay when the rows went`);
  await page.p.unroute('**/api/clanmon/v1/fleet*');

  // A link without a filter asks first, and one whose filter shows nothing says so.
  await page.goto('/?silence=shown');
  await page.see(/Silence all \d machines\?/, 'No filter is set.');
  await page.dontSee('Reason');
  await form.getByRole('button', { name: /Silence all \d machines/ }).click();
  await page.see('Reason');
  await page.goto('/?silence=shown&q=nobody');
  await page.see('No machine matches the filter.');
  await page.close();
}

async function silence(page, button, reason, covers) {
  await page.p.getByRole('button', { name: button }).click();
  const form = page.p.locator('[role="dialog"]');
  await form.waitFor();
  await page.see(covers);
  await form.locator('label', { hasText: 'Reason' }).locator('textarea').fill(reason);
  await form.locator('label', { hasText: 'Author' }).locator('input').fill('ada');
  await form.locator('button.primary').click();
  await form.waitFor({ state: 'detached' });
}
