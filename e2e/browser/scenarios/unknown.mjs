// Where nobody looked nothing is green: no rules, no units, nothing that responds.
export default async function unknown(browser, { rules }) {
  const page = await browser.open('/alerts');
  if (rules) await page.see('Nothing is firing');
  else await page.see('No alerting rules are loaded', '--rules.builtin=on');
  page.check(await page.p.locator('main .status.ok', { hasText: 'Nothing is firing' }).count() === 0, 'says in green that nothing fires');
  const day = page.p.locator('.daystrip');
  await day.getByText(rules ? /Nothing fired\. The server was not running before \d\d:\d\d\.|Nothing is recorded yet\.|MachineDown/ : 'No alerting rules are loaded.').first().waitFor();
  await page.goto('/services');
  if (rules) await page.see(/Units known for 0 of \d machines/, /alpha, beta: down/);
  await page.dontSee('No failed, crash-looping or stuck units');
  page.check(await page.p.locator('main .status.ok').count() === 0, 'something of Services is green');
  await page.goto('/status');
  await page.see('Commit date');
}
