// Somebody looks after a check that fails: what is wrong, the log, a run by hand, and how to
// add another one.
export default async function checks(browser) {
  const page = await browser.open('/');
  await page.see('1 check failing');
  await page.p.getByRole('link', { name: /check failing/ }).click();
  await page.p.waitForURL((u) => u.pathname === '/checks' && u.searchParams.get('state') === 'failing');
  await page.see('closed', 'connection refused');
  await page.p.getByRole('button', { name: 'closed', exact: true }).click();
  const sheet = page.p.getByRole('dialog');
  await page.see('Last failure', 'Response time');
  await sheet.getByRole('button', { name: 'Run now' }).click();
  await page.see('Failed: connection refused');
  await browser.shoot('check');
  await page.p.keyboard.press('Escape');
  await page.p.goto((await page.p.url()).replace(/\?.*/, ''));
  await page.see('open', 'closed', 'OK');
  // A check that runs from two places, one of which nobody knows.
  await page.see('Not running', 'from gone: no machine "gone" is discovered');
  await page.p.getByRole('button', { name: 'both', exact: true }).click();
  await sheet.getByRole('button', { name: 'Run from gone' }).waitFor();
  await sheet.getByRole('row').filter({ hasText: 'OK' }).getByRole('button').click();
  await page.dontSee('Run from gone');
  await browser.shoot('check-places');
  await page.p.keyboard.press('Escape');
  await page.p.getByRole('button', { name: 'Add a check' }).click();
  await page.p.getByLabel('URL').fill('cloud.example.org');
  await page.see('Start with https://');
  await page.p.getByLabel('URL').fill('https://cloud.example.org');
  await page.see("--check 'https://cloud.example.org'");
  await page.dontSee('Start with https://');
  await browser.shoot('add-check');
}
