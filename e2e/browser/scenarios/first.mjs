// The first minute of a server that nobody has configured.
export default async function first(browser) {
  const page = await browser.open('/');
  await page.see(/First steps|not sent anywhere/); // depends on how fast the figures come
  await page.see(/healthy|Warning|Critical|Checking|Waiting/, /CPU/, /Memory/);
  await page.p.locator('main .meter').first().waitFor(); // figures
  await page.goto('/alerts');
  await page.see('No notifications configured', '--notify'); // the server's log is nobody
  await page.goto('/targets');
  await page.see(/[23] targets in [23] jobs/); // units only where there is a systemd
  await page.goto('/status');
  await page.see('3.16.0');
  await page.goto('/config');
  await page.see('job_name: node');
  await page.goto('/flags?q=storage.tsdb.path');
  await page.see('storage.tsdb.path');
}
