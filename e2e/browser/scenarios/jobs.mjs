// Somebody looks after backups: from Fleet to the one that failed, what happened, the other
// jobs by machine, and how to add one. The jobs are the example of server/jobs, of now.
export default async function jobs(browser, { example, machine }) {
  const page = await browser.open('/status');
  const shift = Date.now() / 1000 - 1795838000;
  const list = example.data.jobs.map((j) => ({
    ...j,
    machine: j.machine === 'web1' ? machine : j.machine,
    ...Object.fromEntries(['lastSuccess', 'lastRun', 'next'].map((k) => [k, j[k] && j[k] + shift])),
  }));
  await page.p.route('**/api/clanmon/v1/jobs*', (r) => r.fulfill({ json: { status: 'success', data: { jobs: list } } }));

  // Fleet says it, and the page of the machine, the old one first.
  await page.goto('/');
  await page.see('2 backups need attention', '9 days ago photos');
  await page.goto(`/m/${machine}`);
  await page.see(/photos 9 days ago .*home \d+ min ago/);
  await page.p.getByRole('link', { name: /photos 9 days ago/ }).click();
  await page.p.waitForURL((u) => u.pathname === '/jobs' && u.searchParams.get('only') === 'backups');
  const sheet = page.p.getByRole('dialog');
  await sheet.waitFor();
  await page.see('restic-backups-photos.timer', 'exit code 3', 'usually 10–15 min', 'journalctl -u restic-backups-photos.service -e', 'It does not say what the backup contains');
  await browser.shoot('job');
  await page.p.keyboard.press('Escape');
  await page.dontSee('logrotate');

  // All jobs: backups first, then those of each machine, then what is overdue.
  await page.goto('/jobs');
  await page.see('An empty or incomplete backup is not visible here', 'phone', /\d+ min overdue/);
  const first = await page.p.locator('main tbody tr').allInnerTexts();
  page.check(first[0].startsWith('Backups') && first[1].includes('photos'), `backups that failed are not first: ${first.slice(0, 2)}`);
  await page.p.getByRole('button', { name: 'Group by machine' }).click();
  await page.see('no machine');
  await page.p.getByRole('button', { name: /overdue$/ }).click();
  await page.see('logrotate', 'phone');
  await page.dontSee('borgbackup-job-home');
  await page.p.getByLabel('Filter jobs').fill('nothing like it');
  await page.see('No jobs match the filter');
  await page.p.getByRole('button', { name: /^Show all/ }).click();
  await page.see('borgbackup-job-home');
  await page.fits();
  await page.accessible();
  await browser.shoot('jobs');

  await page.p.getByRole('button', { name: 'Add a job' }).click();
  await page.p.getByLabel('Name').fill('my photos!');
  await page.see(/clanmon job --server http\S+ myphotos -- /, /\/ping\/[0-9a-f]{32}\/\$\?/, 'pings."myphotos"');
  await page.accessible();
}
