// A prometheus.yml of one's own: every target is a machine with a full page, and
// nothing is called healthy that no rule judges.
import { PHONE } from '../browser.mjs';

export default async function own(browser, { bare }) {
  const page = await browser.open('/');
  await page.see('labelled', bare, 'No rules', /gone/, 'Down', /connection refused/);
  await page.p.locator('main .meter .fill').first().waitFor(); // bars are drawn all the same
  await page.see('--rules.builtin=on', 'relabel_configs', 'target_label: machine');
  await page.dontSee('healthy', 'No machines');
  page.check(await page.p.locator('main .status.ok').count() === 0, 'something is green that nothing judged');
  await page.shoot('own-fleet');

  // The lines can be put away, and stay away.
  for (const hide = page.p.locator('main .note', { hasText: 'ules' }).getByRole('button', { name: 'Hide' }); await hide.count();) await hide.first().click();
  await page.reload();
  await page.see(bare);
  await page.dontSee('--rules.builtin=on', 'relabel_configs');

  // The machine without the label has all its series, by its instance.
  await page.p.locator('main a', { hasText: bare }).first().click();
  await page.p.waitForURL((u) => u.pathname === `/m/${encodeURIComponent(bare)}`);
  await page.see('Memory', /used [\d.]+ GiB/);
  await page.dontSee('No machine with this name', 'No longer discovered');
  await page.p.locator('nav.tabs a', { hasText: 'Metrics' }).click();
  await page.see('node_memory_MemTotal_bytes');

  // The palette knows it too.
  await page.p.keyboard.press('Control+k');
  await page.p.locator('[role="combobox"]').fill(bare);
  await page.p.keyboard.press('Enter');
  await page.p.waitForURL((u) => u.pathname === `/m/${encodeURIComponent(bare)}` && !u.searchParams.has('tab'));
  await page.close();

  const phone = await browser.open('/', { size: PHONE });
  await phone.see(bare, 'No rules');
  await phone.fits();
}
