// Without a mouse: everything can be reached, and one sees where one is.
export default async function keyboard(browser) {
  const page = await browser.open('/');
  const k = page.p.keyboard;
  await page.see('box');
  for (const [keys, path, title] of [['s', '/services', 'Services'], ['j', '/jobs', 'Jobs'], ['h', '/changes', 'Changes'], ['a', '/alerts', 'Alerts'], ['t', '/targets', 'Targets'], ['r', '/rules', 'Rules'], ['f', '/', 'Fleet'], ['e', '/explore', 'Explore']]) {
    await k.press('g');
    await k.press(keys);
    await page.p.waitForURL((u) => u.pathname === path);
    await page.settle();
    page.check((await page.p.title()).includes(title), `g ${keys}: the title is ${await page.p.title()}`);
  }

  // The first thing that Tab reaches leads past the navigation.
  await page.goto('/');
  await k.press('Tab');
  page.check(/skip/i.test(await page.p.evaluate(() => document.activeElement.textContent)), 'the first Tab does not offer to skip to the content');
  await k.press('Enter');
  await page.p.waitForFunction(() => document.getElementById('main').contains(document.activeElement)); // past the navigation

  // Going on with Tab, the focus is always to be seen, and gets out again.
  await page.goto('/');
  const seen = new Set();
  for (let i = 0; i < 40; i++) {
    await k.press('Tab');
    const at = await page.p.evaluate(() => {
      const e = document.activeElement;
      if (!e || e === document.body) return null;
      const s = getComputedStyle(e);
      const box = e.getBoundingClientRect();
      return {
        what: e.outerHTML.slice(0, 100), key: `${e.tagName} ${e.textContent.slice(0, 30)} ${Math.round(box.x)} ${Math.round(box.y)}`,
        ring: (s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0) || s.boxShadow !== 'none', visible: box.width > 0 && box.height > 0 && s.visibility !== 'hidden',
      };
    });
    if (!at) break; // back in the browser's own bar
    page.check(at.visible, `the focus is on something that is not to be seen: ${at.what}`);
    page.check(at.ring, `the focus is not to be seen on ${at.what}`);
    seen.add(at.key);
  }
  page.check(seen.size > 10, `Tab reaches only ${seen.size} things`);

  // Help, and out of it.
  await page.goto('/');
  await k.press('?');
  await page.see('Keyboard', 'Refresh');
  await k.press('Escape');
  await page.p.locator('[role="dialog"]').waitFor({ state: 'detached' });

  // The palette finds a machine; a letter in its field is no shortcut.
  await k.press('Control+k');
  await page.p.locator('[role="combobox"]').waitFor();
  await k.type('box');
  await page.p.locator('[role="option"]', { hasText: 'box' }).first().waitFor();
  await k.press('Enter');
  await page.p.waitForURL((u) => u.pathname === '/m/box');

  // The table: j goes down, Enter opens.
  await page.goto('/');
  await page.see('box');
  await k.press('j');
  await k.press('Enter');
  await page.p.waitForURL((u) => u.pathname.startsWith('/m/'));

  // A range, by t and the arrows; what is chosen is in the address.
  await page.goto('/');
  await k.press('t');
  await k.press('ArrowDown');
  await k.press('Enter');
  await page.p.waitForURL((u) => u.searchParams.get('range') === '15m');
  await k.press(']'); // there is no future
  page.check(new URL(page.p.url()).searchParams.get('range') === '15m', `] leads into the future: ${page.p.url()}`);
  await k.press('[');
  await page.p.waitForURL((u) => u.searchParams.has('to'));
  await k.press(']');
  await page.p.waitForURL((u) => u.searchParams.get('range') === '15m');

  // The theme is chosen and remembered.
  await page.goto('/');
  const theme = () => page.p.evaluate(() => document.documentElement.dataset.theme);
  const chosen = [];
  for (let i = 0; i < 3; i++) {
    await k.press('d');
    chosen.push(await theme());
  }
  page.check(chosen.includes('dark') && chosen.includes('light'), `d chooses ${chosen}`);
  await k.press('d');
  await k.press('d');
  const last = await theme();
  await page.reload();
  page.check(await theme() === last, 'the theme is forgotten');

  // The filter.
  await k.press('/');
  page.check(await page.p.evaluate(() => document.activeElement.tagName === 'INPUT'), '/ does not go to the filter');
  await k.type('odd');
  await page.p.waitForURL((u) => u.searchParams.get('q') === 'odd');
  await page.p.locator('main a', { hasText: /^box$/ }).waitFor({ state: 'detached' });
  await page.close();
}
