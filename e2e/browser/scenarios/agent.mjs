// Agent mode has targets and a status, and says at the pages of a server what it is.
export default async function agent(browser) {
  for (const path of ['/', '/agent', '/targets', '/status', '/config', '/flags', '/service-discovery']) {
    const page = await browser.open(path);
    await page.dontSee(/Alerts|Services|Explore|Retention/);
    if (path === '/targets') await page.see('1 target in 1 job');
    if (['/', '/targets'].includes(path)) await page.see('not sent anywhere: no remote_write is configured');
    if (path === '/status') await page.see('No remote_write is configured', 'not sent anywhere');
    await page.fits();
    await page.accessible();
    await page.close();
  }
  for (const path of ['/alerts', '/m/alpha', '/explore', '/graph?g0.expr=up', '/services', '/rules', '/silences']) {
    const page = await browser.open(path);
    await page.see('This is an agent');
    await page.close();
  }
}
