// Agent mode has targets and a status, and nothing that needs queries.
export default async function agent(browser) {
  for (const path of ['/', '/agent', '/targets', '/status', '/config', '/flags', '/service-discovery']) {
    const page = await browser.open(path);
    await page.dontSee(/Alerts|Services|Explore/);
    if (path === '/targets') await page.see('1 target in 1 job');
    await page.fits();
    await page.accessible();
    await page.close();
  }
}
