// At two in the morning: from an alert to what the unit said, without a terminal.
import { PHONE } from '../browser.mjs';

export default async function look(browser, { user, viewer, password, crash }) {
  const as = (username, more = {}) => ({ ...more, context: { ignoreHTTPSErrors: true, httpCredentials: { username, password } } });
  const page = await browser.open('/alerts', as(user));
  await page.p.locator('main a.open').first().click();
  const sheet = page.p.getByRole('dialog');
  const journal = sheet.getByRole('region', { name: 'Journal' });
  await journal.getByText('cannot open the database: disk I/O error').waitFor();
  await journal.getByText('opening the database', { exact: false }).first().waitFor();
  await journal.getByText(/The condition began/).waitFor();
  page.check((await journal.locator('[role="log"] bdi').allInnerTexts()).some((t) => t.includes('␛[31mred')), 'escape sequences are not shown as text');
  await browser.shoot('look-alert');
  await page.accessible();

  // A link leads to the same line.
  await journal.locator('p', { hasText: 'disk I/O error' }).getByRole('link').click();
  await page.p.waitForURL((u) => /^\d{16}$/.test(u.searchParams.get('lt') ?? ''));
  const link = page.p.url();
  const other = await browser.open(link, as(user));
  await other.p.locator('[role="log"] [aria-current="true"]', { hasText: 'disk I/O error' }).waitFor();

  // Filters, and the unit's own sheet.
  await other.goto('/services?unit=t-crash.service&on=box');
  const lines = other.p.locator('[role="log"]');
  await lines.getByText('disk I/O error').waitFor();
  await lines.getByText(/^Failed /).waitFor();
  await other.p.getByLabel('Filter by text').fill('^cannot');
  await other.p.getByLabel('Filter by text').press('Enter');
  await lines.getByText('opening the database').waitFor({ state: 'detached' });
  await lines.getByText('disk I/O error').waitFor();
  await other.p.getByLabel('Priority').selectOption('crit');
  await other.see('No line matches');
  await other.p.getByLabel('Priority').selectOption('');

  // New lines come by themselves.
  await other.p.getByLabel('Filter by text').fill('');
  await other.p.getByLabel('Filter by text').press('Enter');
  await lines.getByText('opening the database').first().waitFor();
  const before = await lines.locator('bdi', { hasText: 'disk I/O error' }).count();
  await other.p.getByRole('button', { name: 'Follow' }).click();
  await fetch(crash);
  await lines.locator('bdi', { hasText: 'disk I/O error' }).nth(before).waitFor();
  await browser.shoot('look-unit');

  // The whole machine, and what runs on it.
  await other.goto('/m/box?tab=journal');
  await other.p.getByRole('button', { name: 'Show processes' }).click();
  await other.see('clanmon-exporter.service', 'Memory');
  await other.p.getByRole('button', { name: 'Show journal' }).click();
  await lines.getByText('disk I/O error').first().waitFor();
  await browser.shoot('look-machine');
  await other.accessible();
  const small = await browser.open('/m/box?tab=journal&log=1', as(user, { size: PHONE }));
  await small.p.locator('[role="log"]').waitFor();
  await small.fits();
  await browser.shoot('look-phone');

  // Who may not is told so.
  const bob = await browser.open('/m/box?tab=journal', as(viewer));
  await bob.see(/bob .*has the role viewer/);
  for (const name of ['Show journal', 'Show processes']) {
    if (await bob.p.getByRole('button', { name }).isEnabled()) browser.problem(`a viewer may press ${name}`);
  }
  await bob.dontSee('disk I/O error', 'does not respond');
}
