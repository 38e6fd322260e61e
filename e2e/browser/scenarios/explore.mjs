// Explore: exemplars in the graph, asking once more, and a slow answer that
// comes after another question was asked.
export default async function explore(browser) {
  const page = await browser.open('/graph?g0.expr=request_seconds_bucket&g0.tab=0&g0.range_input=5m&g0.show_exemplars=1');
  await page.see('1 exemplar');
  // A pointer over the graph finds the diamond, of some seconds ago and low.
  const over = page.p.locator('main .u-over');
  const box = await over.boundingBox();
  let tip = '';
  for (let y = box.height - 4; y > 0 && !tip.includes('trace_id'); y -= 10) {
    for (let x = box.width - 4; x > box.width * 0.3 && !tip.includes('trace_id'); x -= 10) {
      await page.p.mouse.move(box.x + x, box.y + y);
      tip = await page.p.evaluate(() => document.querySelector('main .tip')?.textContent ?? '');
    }
  }
  page.check(tip.includes('trace_id=c0ffee'), `the exemplar under the pointer says ${tip}`);
  await page.p.mouse.move(0, 0);
  await page.p.locator('main summary', { hasText: 'exemplar' }).click();
  await page.p.locator('main td', { hasText: 'trace_id=c0ffee' }).waitFor();
  const button = page.p.getByRole('button', { name: 'Exemplars' });
  await button.click();
  await page.p.waitForURL((u) => !u.searchParams.has('g0.show_exemplars'));
  await button.click();
  await page.p.waitForURL((u) => u.searchParams.get('g0.show_exemplars') === '1');

  // What is not refreshed automatically is asked again when somebody says so.
  await page.goto('/query?g0.expr=demo_a&g0.tab=explain');
  await page.see('1 part', 'not refreshed automatically');
  const again = page.p.waitForRequest((r) => r.url().includes('/api/v1/parse_query'));
  await page.p.getByRole('button', { name: 'Run', exact: true }).click();
  await again;

  // The answer to demo_a comes after that to demo_b, and has to be ignored.
  let late;
  const held = new Promise((go) => (late = go));
  await page.p.route(/\/api\/v1\/query\?query=demo_a&/, async (route) => { await held; await route.continue().catch(() => undefined); });
  await page.goto('/query?g0.expr=demo_a&g0.tab=table', false);
  await page.see('Running');
  await page.p.locator('.cm-content').click();
  await page.p.keyboard.press('Control+a');
  await page.p.keyboard.type('demo_b');
  await page.p.keyboard.press('Escape'); // of the list of completions
  await page.p.getByRole('button', { name: 'Run', exact: true }).click();
  await page.see(/\b7022\b/);
  late();
  await page.settle();
  await page.see(/\b7022\b/);
  await page.dontSee(/\b7011\b/);
}
