// The server goes away and comes back while a page is open; nothing turns white,
// and what is old says so.
import { existsSync, writeFileSync } from 'node:fs';

export default async function away(browser, { signal }) {
  const page = await browser.open('/');
  await page.see('box');
  page.expectTrouble();
  writeFileSync(`${signal}.stop`, '');
  await until(() => existsSync(`${signal}.stopped`));
  await page.p.keyboard.press('r');
  await page.see(/has not responded/, 'box'); // what was known stays, and says so
  await page.see(/Current state unknown/, /Was /);
  await page.dontSee('healthy');
  page.check(await page.p.locator('main .note.crit').count() === 0, 'the page repeats in red what the banner says');
  const green = () => page.p.locator('.status.ok, .problem.ok').evaluateAll((all) => all.filter((e) => e.getClientRects().length && !/grayscale/.test(getComputedStyle(e).filter)).map((e) => e.outerHTML.slice(0, 120)));
  page.check((await green()).length === 0, `green while nothing is known: ${await green()}`);
  await page.p.locator('main a', { hasText: /^box$/ }).first().click();
  await page.see(/Was /, /has not responded/);
  page.check(await page.p.locator('main .note.crit').count() === 0, 'the Machine page repeats in red what the banner says');
  page.check((await green()).length === 0, `green while nothing is known: ${await green()}`);
  await page.p.keyboard.press('g');
  await page.p.keyboard.press('t');
  await page.see(/has not responded/);
  await page.p.waitForFunction(() => document.querySelector('main').innerText.trim().length > 10); // not white
  writeFileSync(`${signal}.start`, '');
  await until(() => existsSync(`${signal}.started`));
  await page.p.keyboard.press('r');
  await page.p.locator('.banner').waitFor({ state: 'detached' });
  await page.p.keyboard.press('g');
  await page.p.keyboard.press('f');
  await page.see('box');
}

async function until(is) {
  while (!is()) await new Promise((r) => setTimeout(r, 50)); // the Go test has a limit
}
