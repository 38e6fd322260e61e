// Boards: import a dashboard of Grafana, pin a chart, arrange by pointer and keys, and find
// all of it again; nobody's change is lost.
import { PHONE } from '../browser.mjs';

export default async function boards(browser, { machine, dashboard }) {
  const page = await browser.open('/boards');
  await page.see('Given', 'read-only', 'cannot be shown');
  await page.accessible();

  // Import says what cannot be imported before anything is stored.
  await page.p.getByRole('button', { name: 'Import', exact: true }).click();
  await page.p.locator('input[type="file"]').setInputFiles({ name: 'g.json', mimeType: 'application/json', buffer: Buffer.from(JSON.stringify(dashboard)) });
  await page.see('4 of 5 panels', 'News', 'panels of the type "news" are not supported');
  await page.accessible('the report');
  await page.p.getByRole('button', { name: 'Import board' }).click();
  await page.p.waitForURL((u) => u.pathname === '/boards/from-grafana');
  await page.see('From Grafana', 'Targets up', 'Read this');
  await page.p.locator('[data-tile] canvas').first().waitFor();
  await page.dontSee('<b>');
  await page.fits();
  await page.accessible();
  await page.shoot('board');

  // A variable is in the URL, and in queries and titles.
  await page.p.getByLabel('machine').selectOption(machine);
  await page.see(`Up of ${machine}`);
  page.check(new URL(page.p.url()).searchParams.get('var-machine') === machine, `the URL does not have the machine: ${page.p.url()}`);

  // By keys and by pointer.
  const place = async (title) => page.p.locator('.tile', { hasText: title }).first().boundingBox();
  await page.p.getByRole('button', { name: 'Edit', exact: true }).click();
  const before = await place('Targets up');
  await page.p.getByRole('button', { name: /^Move Targets up/ }).focus();
  await page.p.keyboard.press('ArrowRight');
  await page.p.keyboard.press('Shift+ArrowDown');
  await page.p.waitForFunction(([x, h]) => {
    const b = document.activeElement.closest('.tile').getBoundingClientRect();
    return b.x > x + 10 && b.height > h + 10;
  }, [before.x, before.height]);
  const handle = await page.p.getByRole('button', { name: /^Move Targets up/ }).boundingBox();
  await page.p.mouse.move(handle.x + 8, handle.y + 8);
  await page.p.mouse.down();
  await page.p.mouse.move(handle.x - 1000, handle.y + 8, { steps: 8 });
  await page.p.mouse.up();
  await page.p.waitForFunction((x) => document.activeElement.closest('.tile').getBoundingClientRect().x < x, before.x);
  await page.accessible('arranging');
  await page.p.getByRole('button', { name: 'Save', exact: true }).click();
  await page.p.getByRole('button', { name: 'Edit', exact: true }).waitFor();

  // Somebody else changes it in the meantime.
  await page.p.getByRole('button', { name: 'Edit', exact: true }).click();
  await page.p.evaluate(async () => {
    const url = '/api/clanmon/v1/boards/from-grafana';
    const now = await (await fetch(url)).json();
    await fetch(url, { method: 'PUT', headers: { 'Content-Type': 'application/json', 'If-Match': now.data.etag }, body: JSON.stringify({ ...now.data.board, title: 'Theirs' }) });
  });
  // The page may have seen their change: what was begun before it does not replace it.
  await page.p.getByRole('button', { name: 'Refresh', exact: true }).click();
  await page.settle();
  page.expectTrouble();
  await page.p.getByRole('button', { name: 'Save', exact: true }).click();
  await page.see('somebody else changed the board', 'Overwrite it');
  page.trouble = undefined;
  await page.p.getByRole('button', { name: 'Discard' }).click();
  await page.reload();
  await page.see('Theirs');

  // Any chart can be pinned.
  await page.goto(`/explore?g0.expr=up&g0.tab=graph`);
  await page.p.getByRole('button', { name: 'More for query 1' }).click();
  await page.p.getByRole('button', { name: 'Pin to board' }).click();
  await page.p.getByLabel('Title', { exact: true }).fill('Pinned');
  await page.p.getByRole('dialog').locator('select').selectOption('');
  await page.p.getByLabel('Title of the new board').fill('Mine');
  await page.p.getByRole('button', { name: 'Pin', exact: true }).click();
  await page.p.getByRole('dialog').waitFor({ state: 'detached' });
  await page.p.getByRole('button', { name: 'More for query 1' }).click();
  await page.p.getByRole('button', { name: 'Save query' }).click();
  await page.p.getByLabel('Name', { exact: true }).fill('What is up');
  await page.p.getByRole('button', { name: 'Save', exact: true }).click();
  await page.p.getByRole('dialog').waitFor({ state: 'detached' });
  await page.reload();
  await page.p.getByRole('button', { name: 'More for query 1' }).click();
  await page.p.getByRole('button', { name: 'What is up' }).waitFor();

  // A board that is read-only, and one that is broken.
  await page.goto('/boards');
  await page.see('Mine', 'Theirs', 'Saved queries', 'Given', 'cannot be shown', 'version 9 was written by a newer clanmon');
  await page.p.locator('main a', { hasText: 'Given' }).click();
  await page.see('Given', 'read-only');
  page.check(await page.p.getByRole('button', { name: 'Edit', exact: true }).isDisabled(), 'a read-only board can be edited');
  await page.close();

  const phone = await browser.open('/boards/from-grafana', { size: PHONE });
  await phone.see('Theirs', 'Read this');
  await phone.fits();
  await phone.accessible();
  const columns = await phone.p.locator('.tile').evaluateAll((all) => new Set(all.map((e) => Math.round(e.getBoundingClientRect().x))).size);
  phone.check(columns === 1, `panels are in ${columns} columns on a phone`);
  await phone.shoot('board-phone');
  await phone.close();

  // All panels of a board that are in sight are drawn.
  const big = await browser.open('/boards/twenty', { size: { width: 1440, height: 4000 } });
  await big.p.waitForFunction(() => document.querySelectorAll('.tile canvas').length === 20);
  await big.close();
}
