// A restart in the middle of an incident does not turn the fleet green.
import { existsSync, writeFileSync } from 'node:fs';

export default async function incident(browser, { signal }) {
  const page = await browser.open('/');
  await page.see('box', 'Critical');
  page.expectTrouble();
  writeFileSync(`${signal}.stop`, '');
  await until(() => existsSync(`${signal}.stopped`));
  writeFileSync(`${signal}.start`, '');
  await until(() => existsSync(`${signal}.started`));
  // Whoever opens the page now, or has it open: never OK, and soon "checking".
  const fresh = await browser.open('/', { settled: false });
  fresh.expectTrouble();
  const state = async () => (await fresh.p.locator('main tbody tr', { hasText: 'box' }).allInnerTexts()).join(' ').replace(/\s+/g, ' ');
  const seen = new Set();
  await until(async () => {
    await fresh.p.keyboard.press('r');
    await fresh.p.waitForTimeout(200); // between two looks
    const text = await state();
    seen.add(text);
    return /Critical/.test(text);
  });
  fresh.check(![...seen].some((s) => /\bOK\b/.test(s)), `says OK after the restart: ${[...seen].join(' | ')}`);
  await fresh.see(/checking since restart/);
  await fresh.p.locator('main a', { hasText: /^box$/ }).first().click();
  await fresh.see('Critical', /checking since restart/);
  await fresh.dontSee('healthy');
}

async function until(is) {
  while (!(await is())) await new Promise((r) => setTimeout(r, 50)); // the Go test has a limit
}
