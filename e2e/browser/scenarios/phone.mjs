// On a phone: what one came for is in the first half of the screen, a finger leads to the
// next machine, and the pages can be installed.
import { PHONE } from '../browser.mjs';

export default async function phone(browser, { base }) {
  const page = await browser.open('/m/alpha', { size: PHONE });
  const { p } = page;
  const chart = p.locator('main section.chart canvas').first();
  await chart.waitFor();
  const top = await p.locator('main section.chart').first().evaluate((e) => e.getBoundingClientRect().top);
  page.check(top < PHONE.height / 2, `the first chart begins at ${top} of ${PHONE.height}`);
  page.check((await p.locator('.topbar').innerText()).includes('alpha'), 'the top bar does not name the machine');
  await p.getByRole('button', { name: 'Facts' }).tap();
  await page.see('Targets');
  await page.fits();

  const cdp = await p.context().newCDPSession(p);
  const swipe = async (from, to, y) => {
    const touch = (type, x) => cdp.send('Input.dispatchTouchEvent', { type, touchPoints: type === 'touchEnd' ? [] : [{ x, y }] });
    await touch('touchStart', from);
    for (const part of [0.3, 0.6, 1]) await touch('touchMove', from + (to - from) * part);
    await touch('touchEnd');
  };
  await swipe(300, 60, 130);
  await p.waitForURL((u) => u.pathname === '/m/beta');
  await p.locator('main section.chart canvas').first().waitFor();
  await swipe(60, 300, 130);
  await p.waitForURL((u) => u.pathname === '/m/alpha');
  // A finger in a chart reads it.
  await p.locator('main section.chart canvas').first().waitFor();
  const over = await p.locator('.u-over').first().boundingBox();
  await swipe(over.x + 20, over.x + over.width - 1, over.y + 40); // to the newest sample
  await p.locator('.chart .tip').waitFor();
  page.check(new URL(p.url()).pathname === '/m/alpha', 'a finger in a chart leads to another machine');
  await page.shoot('phone');

  const manifest = await fetch(`${base}/manifest.webmanifest`);
  page.check(manifest.headers.get('content-type') === 'application/manifest+json', `the manifest is ${manifest.headers.get('content-type')}`);
  for (const icon of (await manifest.json()).icons) {
    const file = await fetch(`${base}/${icon.src}`);
    page.check(file.ok && file.headers.get('content-type') === icon.type, `${icon.src}: ${file.status} ${file.headers.get('content-type')}`);
  }
  // What Chromium itself says against installing; that the test has no TLS does not count on
  // the loopback.
  const { installabilityErrors } = await cdp.send('Page.getInstallabilityErrors');
  const errors = installabilityErrors.filter((e) => !/in-incognito/.test(e.errorId));
  page.check(errors.length === 0, `cannot be installed: ${JSON.stringify(errors)}`);
}
