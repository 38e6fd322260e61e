// What machines, labels and alerts say is text.
export default async function hostile(browser, { pages }) {
  for (const path of [...pages, '/m/odd']) {
    const page = await browser.open(path);
    const found = await page.p.evaluate(() => ({
      pwned: 'pwned' in window && !(window.pwned instanceof Element),
      elements: document.querySelectorAll('main img[src="x"], #pwned, main script, main [onerror]').length,
      links: [...document.querySelectorAll('a[href]')].map((a) => a.getAttribute('href')).filter((h) => /^\s*(javascript|data|vbscript):/i.test(h)),
    }));
    page.check(!found.pwned, 'a script of a label ran');
    page.check(found.elements === 0, 'markup of a label became elements');
    page.check(found.links.length === 0, `links to ${found.links}`);
    await page.close();
  }
  const fleet = await browser.open('/');
  await fleet.see('<img src=x onerror=');
  const alerts = await browser.open('/alerts');
  await alerts.see('<b id=pwned>seven</b>');
  const query = await browser.open('/query?g0.expr=demo&g0.tab=1');
  await query.see('<img src=x onerror=', '42');
}
