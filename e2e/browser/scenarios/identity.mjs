// Logging in at a provider, what a viewer sees of what only operators may do, and whose
// name a silence has.
import { PHONE } from '../browser.mjs';

const tls = { context: { ignoreHTTPSErrors: true } };

export default async function identity(browser, { base, elsewhere: [provider] }) {
  const viewer = await browser.open('/alerts?q=DiskOdd', tls);
  const { p } = viewer;
  const chooses = async (page, who) => {
    await page.p.waitForURL((u) => u.origin === provider);
    await page.p.getByRole('link', { name: who }).click();
    await page.p.waitForURL((u) => u.origin === new URL(base).origin && !u.pathname.startsWith('/-/'));
    await page.settle();
  };
  await chooses(viewer, 'bob@example.com');
  viewer.check(new URL(p.url()).pathname + new URL(p.url()).search === '/alerts?q=DiskOdd', `the login leads to ${p.url()}`);
  await viewer.see('DiskOdd', 'bob@example.com');

  // What would be refused cannot be pressed, and says why.
  const refused = async (where, name) => {
    const button = where.getByRole('button', { name }).first();
    await button.waitFor();
    viewer.check(await button.isDisabled(), `a viewer may press ${name}`);
    const why = (await button.getAttribute('title')) ?? '';
    viewer.check(/bob@example\.com .*role viewer/.test(why), `${name} gives no reason: ${why}`);
  };
  await refused(p, 'New silence');
  await refused(p, 'Silence all of DiskOdd');
  await p.locator('main a.open').first().click();
  for (const name of ['Silence', 'Mute box']) await refused(p.getByRole('dialog'), name);
  await browser.shoot('identity-viewer');
  await viewer.accessible();
  await viewer.goto('/silences?new=1&matcher=machine%3D%22box%22');
  await viewer.see(/Changes are for operators: bob@example\.com/);
  await refused(p.getByRole('dialog'), /^Silence/);
  const openCheck = async () => {
    await viewer.goto('/checks');
    await p.locator('main').getByRole('button', { name: new URL(base).host }).click();
  };
  await openCheck();
  await refused(p, 'Run now');
  await viewer.goto('/m/box?tab=journal');
  for (const name of ['Show journal', 'Show processes']) await refused(p, name);
  // Without the button it is refused too.
  const silence = (createdBy) => ({
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({
      matchers: [{ name: 'machine', value: 'other', isRegex: false }], startsAt: new Date().toISOString(),
      endsAt: new Date(Date.now() + 3600_000).toISOString(), createdBy, comment: 'forged',
    }),
  });
  const send = (page, createdBy) => page.evaluate(async (o) => (await fetch('/api/v2/silences', o)).status, silence(createdBy));
  const other = await p.context().newPage(); // of which no failed request is a problem
  await other.setViewportSize(PHONE);
  await other.goto(base);
  browser.check((await send(other, 'alice@example.com')) === 403, 'a viewer may silence');

  // Who one is, on a phone too.
  await other.locator('.who').first().click();
  await other.getByText('Role: viewer').waitFor();
  const wide = await other.evaluate(() => document.documentElement.scrollWidth);
  browser.check(wide <= PHONE.width, `the corner of the page makes it ${wide} pixels wide`);
  if (browser.options.pictures) await other.screenshot({ path: `${browser.options.pictures}/identity-phone.png` });
  await other.close();
  await p.locator('.who').first().click();
  await viewer.see('Role: viewer', 'logged in');
  await p.getByRole('button', { name: 'Log out' }).click();
  await viewer.see('You are logged out');
  await viewer.goto('/silences', false);
  viewer.check(new URL(p.url()).origin === provider, `after logging out, a page is ${p.url()}`);

  // Somebody else logs in, in the same browser.
  await chooses(viewer, 'alice@example.com');
  await viewer.see('alice@example.com');
  await viewer.goto('/silences?new=1&matcher=machine%3D%22box%22');
  const form = p.getByRole('dialog');
  const author = form.getByLabel('Author');
  viewer.check((await author.inputValue()) === 'alice@example.com' && !(await author.isEditable()), 'the author of a silence can be chosen');
  await form.getByLabel('Reason').fill('planned work');
  await form.locator('button.primary').click();
  await form.waitFor({ state: 'detached' });
  await viewer.see('planned work', 'alice@example.com');
  await browser.shoot('identity-operator');
  viewer.check((await send(p, 'root')) === 200, 'an operator may not silence');
  const all = await p.evaluate(async () => (await fetch('/api/v2/silences')).json());
  viewer.check(all.length === 2 && all.every((s) => s.createdBy === 'alice@example.com'), `authors: ${all.map((s) => s.createdBy).join(', ')}`);
  await openCheck();
  viewer.check(await p.getByRole('button', { name: 'Run now' }).first().isEnabled(), 'an operator may not run a check');
}
