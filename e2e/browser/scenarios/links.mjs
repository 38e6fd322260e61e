// A copied link, opened by somebody else, shows the same.
export default async function links(browser, { links: paths }) {
  for (const path of paths) {
    const page = await browser.open(path, { context: { permissions: ['clipboard-read', 'clipboard-write'] } });
    await page.p.getByRole('button', { name: 'View', exact: true }).click();
    await page.p.getByText('Copy link (fixed time)').click();
    const link = await page.p.evaluate(() => navigator.clipboard.readText());
    page.check(link.startsWith(browser.options.base), `copies ${link}`);
    await page.goto(link);
    const other = await browser.open(link, {});
    let [mine, theirs] = [await shown(page), await shown(other)];
    for (let tries = 0; tries < 3 && mine !== theirs; tries++) { // an alert may have fired between the two
      await Promise.all([page.reload(), other.reload()]);
      [mine, theirs] = [await shown(page), await shown(other)];
    }
    other.check(mine === theirs, `${link} shows\n  ${theirs}\nin place of\n  ${mine}`);
    await page.close();
    await other.close();
  }
}

// What is shown, but for ages and figures, which go on.
async function shown(page) {
  const text = await page.text();
  const state = await page.p.locator('main :is(input, select), main [aria-selected], main [aria-pressed], main [aria-current]').evaluateAll((all) => all
    .map((e) => `${e.value ?? ''}${e.getAttribute('aria-selected') ?? ''}${e.getAttribute('aria-pressed') ?? ''}`).join(' '));
  return `${text} ${state}`.replace(/[\d.,:–-]+\s*(µs|s|ms|min|h|d|[kKMGT]?i?B(\/s)?|%|°C|K|M)?(?![a-zA-Z])/g, '#').replace(/(# ?)+/g, '# ');
}
