// Pages whose history is at another engine, which does not respond: the own part is
// there, and every page that lacks something says so.
import { PHONE } from '../browser.mjs';

export default async function history(browser) {
  const why = /History not reached: \S+: connection refused/;
  for (const how of [{}, { size: PHONE, dark: true }]) {
    const page = await browser.open('/m/box', how);
    await page.see('box', why);
    await page.fits();
    await page.accessible();
    await page.shoot(`history-${how.dark ? 'phone' : 'wide'}`);
    await page.close();
  }
  const page = await browser.open('/explore?g0.expr=node_load1');
  await page.see('node_load1', why);
  page.check(await page.p.locator('.banner').count() === 0, 'Explore says it twice');
  await page.goto('/runbooks'); // which has nothing to lack
  await page.see('Runbooks');
  await page.dontSee('History not reached');
  await page.close();
}
