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

  // Only the page gets these touches: Chromium itself would go back in the history.
  const swipe = (where, from, to) => where.evaluate((target, [from, to]) => {
    const { left, top } = target.getBoundingClientRect();
    const touch = (type, x) => {
      const finger = new Touch({ identifier: 1, target, clientX: left + x, clientY: top + 40 });
      const touches = type === 'touchend' ? [] : [finger];
      target.dispatchEvent(new TouchEvent(type, { bubbles: true, cancelable: true, touches, targetTouches: touches, changedTouches: [finger] }));
    };
    touch('touchstart', from);
    for (const part of [0.3, 0.6, 1]) touch('touchmove', from + (to - from) * part);
    touch('touchend', to);
  }, [from, to]);
  await swipe(p.locator('main'), 300, 60);
  await p.waitForURL((u) => u.pathname === '/m/beta');
  await p.locator('main section.chart canvas').first().waitFor();
  await swipe(p.locator('main'), 60, 300);
  await p.waitForURL((u) => u.pathname === '/m/alpha');
  // A finger in a chart reads it.
  const plot = p.locator('main section.chart .u-over').first();
  const tip = p.locator('.chart .tip');
  for (let tries = 0; tries < 100 && !(await tip.isVisible()); tries++) { // newer data may draw it anew
    await swipe(plot, 20, (await plot.evaluate((e) => e.clientWidth)) - 1); // to the newest sample
    await p.waitForTimeout(500);
  }
  await tip.waitFor();
  page.check(new URL(p.url()).pathname === '/m/alpha', 'a finger in a chart leads to another machine');
  await page.shoot('phone');
  // A menu is on the screen, also one that is wider than the room on its side.
  await p.locator('button[title^="Time range"]').tap();
  const { left, right } = await p.locator('.menu').evaluate((e) => e.getBoundingClientRect().toJSON());
  page.check(left >= 0 && right <= PHONE.width, `the menu is from ${left} to ${right} of ${PHONE.width}`);

  const manifest = await fetch(`${base}/manifest.webmanifest`);
  page.check(manifest.headers.get('content-type') === 'application/manifest+json', `the manifest is ${manifest.headers.get('content-type')}`);
  for (const icon of (await manifest.json()).icons) {
    const file = await fetch(`${base}/${icon.src}`);
    page.check(file.ok && file.headers.get('content-type') === icon.type, `${icon.src}: ${file.status} ${file.headers.get('content-type')}`);
  }
  // What Chromium itself says against installing; that the test has no TLS does not count on
  // the loopback.
  const cdp = await p.context().newCDPSession(p);
  const { installabilityErrors } = await cdp.send('Page.getInstallabilityErrors');
  const errors = installabilityErrors.filter((e) => !/in-incognito/.test(e.errorId));
  page.check(errors.length === 0, `cannot be installed: ${JSON.stringify(errors)}`);
}
