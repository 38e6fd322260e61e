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
  await page.see(/has not responded/, 'box'); // what was known stays
  await page.p.keyboard.press('g');
  await page.p.keyboard.press('t');
  await page.see(/has not responded/);
  await page.p.waitForFunction(() => document.querySelector('main').innerText.trim().length > 10); // not white
  writeFileSync(`${signal}.start`, '');
  await until(() => existsSync(`${signal}.started`));
  await page.p.keyboard.press('r');
  await page.p.locator('.banner').waitFor({ state: 'detached', timeout: 40_000 });
  await page.p.keyboard.press('g');
  await page.p.keyboard.press('f');
  await page.see('box');
}

async function until(is) {
  while (!is()) await new Promise((r) => setTimeout(r, 50)); // the Go test has a limit
}
