// Below a path of another server, and with a title of one's own.
export default async function prefix(browser) {
  const page = await browser.open('/mon/');
  page.check((await page.p.title()).includes('Ours <b>'), `the title is ${await page.p.title()}`);
  for (const [link, path] of [['Targets', '/mon/targets'], ['Alerts', '/mon/alerts'], ['Fleet', '/mon/']]) {
    await page.p.locator('nav.nav a', { hasText: link }).click();
    await page.p.waitForURL((u) => u.pathname === path);
    await page.settle();
  }
  await page.goto('/mon/status');
  await page.see('3.16.0');
  await page.goto('/mon/graph?g0.expr=vector(7)&g0.tab=1');
  page.check(new URL(page.p.url()).pathname === '/mon/query', `/graph leads to ${page.p.url()}`);
}
