// What each page is for: what a person looks for is there.
import { WIDE } from '../browser.mjs';

export default async function pages(browser, { base }) {
  const page = await browser.open('/');
  await page.see('box', 'odd', 'gone', 'Down', /\b1\s+failed unit/i);
  page.check(/^\(\d+\) Fleet/.test(await page.p.title()), `the title does not count what fires: ${await page.p.title()}`);
  await page.shoot('fleet');

  // At any width there is a way to each page: in a bar, or in a menu.
  for (const width of [1920, 1440, 1280, 1024, 901, 760, 360]) {
    await page.p.setViewportSize({ width, height: 900 });
    await linked(page, width);
  }
  await page.p.setViewportSize({ width: 1024, height: 900 });
  await page.goto('/?from=1700000000&to=1700100000');
  await linked(page, 1024);
  await page.p.setViewportSize(WIDE);
  await page.goto('/');

  // From the fleet to a machine, and on to its neighbours.
  await page.p.locator('main a', { hasText: /^box$/ }).first().click();
  await page.p.waitForURL((u) => u.pathname === '/m/box');
  await page.see('CPU', 'Memory', 'box');
  await page.p.locator('main canvas, main svg').first().waitFor();
  await page.shoot('machine');
  for (const tab of ['Disks', 'Network', 'Services', 'Metrics']) {
    await page.p.locator('nav.tabs a', { hasText: tab }).click();
    await page.settle();
  }
  await page.see('clanmon_build_info', 'Version and commit of clanmon');
  await page.goto('/m/gone');
  await page.see(/connection refused/, /curl/);
  await page.goto('/m/nobody');
  await page.see('No machine with this name');

  // The unit that failed, as systemd says it.
  await page.goto('/services');
  await page.see('t-fail.service', 'failed');
  await page.shoot('services');
  await page.p.locator('main a', { hasText: 't-fail.service' }).first().click();
  await page.see(/systemctl status/, /journalctl/);

  // Alerts: what fires, what is silenced, what is pending.
  await page.goto('/alerts');
  await page.see('Hostile', 'JobFailed', 'MachineDown');
  page.check(!(await page.text('.alertsmain')).includes('KnownTrouble'), 'a silenced alert is among those that fire');
  await page.shoot('alerts');
  // What fired when: a strip of the day leads to the alert at that time.
  await page.see('Last 24 hours');
  await page.p.locator('.dayrow', { hasText: 'Hostile' }).click();
  await page.p.waitForURL((u) => u.searchParams.get('fired') === 'Hostile');
  await page.see('Two hours before', 'What else moved');
  await page.goto('/alerts');
  await page.p.locator('nav.tabs a', { hasText: 'Silenced' }).click();
  await page.see('KnownTrouble', 'by ada');
  await page.p.locator('nav.tabs a', { hasText: 'Pending' }).click();
  await page.see('NotYet', 'This is pending', /fires in (1 h|\d+ min)/);

  // Which disk fills next: one key sequence from Fleet, and a row leads to its chart.
  await page.goto('/');
  await page.p.keyboard.press('g');
  await page.p.keyboard.press('p');
  await page.p.waitForURL((u) => u.pathname === '/capacity');
  await page.see('box', 'file system', 'memory', 'too little data');
  await page.shoot('capacity');
  await page.p.getByRole('button', { name: /memory$/ }).click();
  await page.dontSee('file system');
  await page.goto('/capacity?kind=disks&q=box');
  await page.p.locator('main table a').first().click();
  await page.p.waitForURL((u) => u.pathname === '/m/box' && u.searchParams.get('tab') === 'disks');

  // For how long machines were reachable, as soon as it is known.
  await page.goto('/uptime');
  await page.see('box', 'odd', /\d %/);
  await page.p.locator('main table a', { hasText: /^box$/ }).click();
  await page.p.waitForURL((u) => u.pathname === '/m/box' && u.searchParams.get('tab') === 'changes');
  await page.see('Uptime by month');

  // What changed: alerts and their ends, units, silences with what somebody wrote.
  await page.goto('/changes');
  await page.see('Hostile', 't-fail.service failed', 'silenced by ada', 'new disk <b>on Friday</b>');
  await page.dontSee('Watchdog');
  await page.p.getByRole('button', { name: /unit$/ }).click();
  await page.see('t-fail.service failed');
  await page.dontSee('Hostile');
  await page.p.locator('main table a', { hasText: 'box' }).first().click();
  await page.p.waitForURL((u) => u.pathname === '/m/box' && u.searchParams.has('from'));
  await page.goto('/m/box?tab=changes');
  await page.see('t-fail.service failed');
  await page.dontSee('Hostile', 'MachineDown');

  // A built-in alert leads to its runbook, a page of this server.
  await page.goto('/alerts?q=JobFailed');
  await page.p.locator('main .alertrow a.open').first().click();
  await page.p.locator('[role="dialog"] a', { hasText: 'Runbook' }).click();
  await page.see('JobFailed', 'journalctl -u UNIT -e', '--rules.disable=JobFailed', 'Change or disable an alert');
  await page.goto('/runbooks?q=inode');
  await page.see('InodesAlmostGone');
  await page.dontSee('JobFailed');
  await page.goto('/runbooks/Nobody');
  await page.see('No runbook with this name');

  // A notification's link opens its alert, and says which one it was after it has ended.
  const alerts = await page.p.evaluate(async () => (await fetch('/api/v2/alerts?filter=alertname="JobFailed"')).json());
  await page.goto(`/alerts?alert=${alerts[0].fingerprint}+JobFailed+${alerts[0].labels.machine}`);
  await page.p.locator('[role="dialog"]', { hasText: 'JobFailed' }).waitFor();
  await page.goto('/alerts?alert=0123456789abcdef+Hostile+beta');
  await page.see('Hostile on beta is not firing');
  await page.p.locator('main .note a', { hasText: 'History' }).click();
  await page.see('Alerts in the');
  page.check(await page.p.getByLabel('Filter alerts').inputValue() === 'Hostile beta', 'the history is not of the alert');

  // An alert younger than a step of the range is in its history, with a bar.
  await page.goto('/alerts?tab=history&range=7d');
  const young = page.p.locator('main tr', { hasText: 'Hostile' });
  await young.waitFor();
  page.check(await young.locator('.timeline .strip span').count() > 0, 'the bar of a young alert is empty');
  page.check(!/\b0 s\b/.test(await young.innerText()), `a young alert fired for no time: ${await young.innerText()}`);
  await page.dontSee('Watchdog', 'MachineNew');

  // Silencing, from the alert to the server and back.
  await page.goto('/alerts?q=Hostile');
  await page.p.getByRole('button', { name: /^Silence Hostile/ }).first().click();
  const form = page.p.locator('[role="dialog"]');
  await form.waitFor();
  await form.locator('label', { hasText: 'Reason' }).locator('textarea').fill('seen it');
  await form.locator('label', { hasText: 'Author' }).locator('input').fill('grace');
  await page.see(/Mutes 1 of \d+ alerts now/);
  await form.locator('button.primary').click();
  await form.waitFor({ state: 'detached' });
  const silences = await (await fetch(`${base}/api/v2/silences`)).json();
  const made = silences.find((s) => s.comment === 'seen it' && s.status.state === 'active');
  page.check(made?.createdBy === 'grace' && made.matchers.some((m) => m.name === 'alertname' && m.value === 'Hostile'), `made ${JSON.stringify(silences)}`);
  await page.goto('/silences');
  await page.see('seen it', 'grace', 'new disk <b>on Friday</b>', 'ada');
  await page.shoot('silences');
  const mine = page.p.locator('li, tr', { hasText: 'seen it' }).last();
  await mine.getByRole('button', { name: 'Expire' }).click();
  await mine.getByRole('button', { name: 'Expire now?' }).click();
  await page.p.locator('main', { hasNotText: 'seen it' }).waitFor();
  page.check((await (await fetch(`${base}/api/v2/silence/${made.id}`)).json()).status.state === 'expired', 'the silence is not expired');

  // Explore: a table, a graph, and a mistake at its place.
  await page.goto('/query?g0.expr=demo&g0.tab=1');
  await page.see('42');
  await page.goto('/graph?g0.expr=up&g0.tab=0&g0.range_input=15m');
  await page.p.locator('main canvas').first().waitFor();
  await page.see(/box/);
  await page.shoot('explore');
  const wrong = await browser.open('/targets');
  wrong.expectTrouble(); // the server answers 400 to a query that is wrong
  await wrong.goto('/query?g0.expr=sum(&g0.tab=1');
  await wrong.see(/unclosed left parenthesis|unexpected end/);
  await wrong.close();
  await page.goto('/query?g0.expr=nothing_of_this_name&g0.tab=1');
  await page.see(/no (series|result|data)|nothing|empty/i);

  // A link to a unit of any type shows it.
  await page.goto('/services?view=units&q=systemd-tmpfiles-clean.timer');
  await page.see(/systemd-tmpfiles-clean\.timer 1 of 1/);
  await page.goto('/services?view=units&unit=systemd-tmpfiles-clean.timer&on=box');
  await page.see('Last run', 'Next run', /systemctl list-timers/);
  await page.goto('/rules?q=Watchdog');
  await page.see('Internal');
  await page.dontSee(/\b1 firing\b/);

  await page.goto('/targets');
  await page.see(/5 targets in 3 jobs, 1 down/);
  await page.shoot('targets');
  await page.goto('/service-discovery');
  await page.see('Kept', /node 3 3 0/);
  await page.p.locator('nav.tabs a', { hasText: 'Targets' }).click(); // and out of it again
  await page.see('/metrics', /5 targets/);
  await page.goto('/targets?health=down&health=unknown&scrapePool=node'); // as Prometheus writes it
  await page.see('gone');
  page.check(!/\bbox\b/.test(await page.text('main table')), 'targets that are up are among those that are not');
  await page.goto('/alerts?state=pending');
  await page.see('NotYet');
  await page.goto('/status');
  await page.see('3.16.0', /Series in memory/, /Healthy|\d problem/);
  await page.goto('/tsdb-status');
  await page.see(/Series per metric|metric/i);
  await page.goto('/config');
  await page.see('scrape_interval: 1s');
}

const TITLES = ['Fleet', 'Compare', 'Services', 'Checks', 'Jobs', 'Alerts', 'Changes', 'Capacity', 'Uptime', 'Silences', 'Explore', 'Boards', 'Targets', 'Rules', 'Runbooks', 'Status'];

// linked checks that each page has a link that is in sight, or in the menu of the top bar.
async function linked(page, width) {
  await page.p.locator('.topbar').getByRole('button', { name: width > 900 ? 'More' : 'View', exact: true }).click();
  let missing = TITLES;
  for (let tries = 0; tries < 50 && missing.length; tries++) { // the bar is measured after it is drawn
    missing = await page.p.evaluate((titles) => {
      const seen = [...document.querySelectorAll('.topbar nav a, .topbar .menu a, .bottombar a')].filter((a) => {
        if (a.closest('.menu')) a.scrollIntoView({ block: 'nearest' });
        const { left, right, top, bottom } = a.getBoundingClientRect();
        return [left + 2, right - 2].every((x) => a.contains(document.elementFromPoint(x, (top + bottom) / 2)));
      });
      return titles.filter((t) => !seen.some((a) => a.innerText.trim().split(/\s/)[0] === t));
    }, TITLES);
    if (missing.length) await page.p.waitForTimeout(100);
  }
  page.check(missing.length === 0, `no link to ${missing.join(', ')} at ${width} pixels`);
  await page.p.keyboard.press('Escape');
  await page.fits();
}
