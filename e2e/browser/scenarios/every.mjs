// Every page, wide, on a phone and between, light and dark: nothing on the console, no
// failed request, no sideways scrolling, nothing serious that axe-core finds.
import { PHONE, WIDE } from '../browser.mjs';

export default async function every(browser, { pages }) {
  const queue = [WIDE, PHONE].flatMap((size) => pages.map((path) => ({ size, path })));
  const work = async () => {
    for (let next = queue.shift(); next; next = queue.shift()) {
      const page = await browser.open(next.path, { size: next.size });
      for (const theme of ['light', 'dark']) {
        await page.p.emulateMedia({ colorScheme: theme });
        await page.p.waitForFunction((t) => document.documentElement.dataset.theme === t, theme);
        const background = await page.p.evaluate(() => [document.body, document.documentElement].map((e) => getComputedStyle(e).backgroundColor).find((c) => !c.endsWith(', 0)')) ?? 'rgb(255, 255, 255)');
        const lightness = background.match(/\d+/g).slice(0, 3).reduce((a, b) => a + Number(b), 0) / 3;
        page.check(theme === 'dark' ? lightness < 80 : lightness > 200, `is not ${theme}: the background is ${background}`);
        await page.fits();
        // What differs between themes are colours, and those are the same on a phone.
        if (next.size === WIDE || theme === 'light') await page.accessible(theme);
      }
      if (next.size === WIDE) {
        // What fits a phone and a wide window need not fit a tablet or a small laptop.
        for (const width of [760, 1024]) {
          await page.p.setViewportSize({ width, height: 768 });
          await page.fits();
        }
      }
      page.check((await page.p.title()).length > 0, 'has no title');
      page.check(await page.p.locator('h1').count() <= 1, 'has more than one h1');
      if (next.size === PHONE) await page.touchable('nav.bottombar a, nav.bottombar button');
      await page.close();
    }
  };
  await Promise.all([work(), work()]);
}
