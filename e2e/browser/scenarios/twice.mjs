// A machine that two methods know is one row, intermittent by the one that says
// so, and Discovery names both methods and their jobs.
export default async function twice(browser) {
  const page = await browser.open('/');
  await page.see('box', 'lap');
  page.check(await page.p.locator('main tbody tr', { hasText: 'box' }).count() === 1, 'a machine that two methods know has two rows');
  await page.see('Offline');
  await page.dontSee(/\bDown\b/);
  await page.goto('/targets?tab=discovery');
  await page.see('inventory', 'static', /node, systemd/, /2 discovered targets do not respond|1 discovered target does not respond/);
  await page.dontSee('All discovered devices report', 'No discovery method enabled');
}
