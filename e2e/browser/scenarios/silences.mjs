// Making a silence: what is refused, what it covers while nothing fires, and whose
// clock it goes by.
export default async function silences(browser, { base }) {
  const stored = async (comment) => (await (await fetch(`${base}/api/v2/silences`)).json()).find((s) => s.comment === comment);
  const fill = async (form, why) => {
    await form.locator('label', { hasText: 'Reason' }).locator('textarea').fill(why);
    await form.locator('label', { hasText: 'Author' }).locator('input').fill('ada');
  };

  // The row that the form begins with is not sent along with a pasted matcher.
  const page = await browser.open('/silences?new=true');
  const form = page.p.locator('[role="dialog"]');
  await form.waitFor();
  await fill(form, 'pasted');
  await form.locator('button.primary').click();
  await page.see('machine has no value');
  await form.getByLabel('Add matchers').fill('name="no-such.service"');
  await form.getByLabel('Add matchers').press('Enter');
  await page.see('Covers matching alerts of all machines');
  await form.locator('button.primary').click();
  await form.waitFor({ state: 'detached' });
  await page.see(/Silenced until .*: name="no-such\.service"/); // as the server has it
  const pasted = await stored('pasted');
  page.check(pasted?.matchers.length === 1 && pasted.matchers[0].name === 'name', `stored ${JSON.stringify(pasted)}`);

  // Planned work: nothing fires there, and one sees what is covered all the same.
  await page.goto('/silences?new=1&matcher=machine%3D%22bxo%22');
  await page.see('No machine matches machine="bxo"');
  await form.getByLabel('Value of machine').fill('odd');
  await page.see(/Covers every alert of odd/);
  await page.close();

  // A browser whose clock is ten minutes ahead makes a silence of an hour.
  const late = await browser.open('/silences?new=1&matcher=name%3D%22late.service%22', { clock: 600 });
  const second = late.p.locator('[role="dialog"]');
  await second.waitFor();
  await late.see(/clock is (9|10) min ahead/);
  await fill(second, 'wrong clock');
  await second.locator('button.primary').click();
  await second.waitFor({ state: 'detached' });
  const hour = await stored('wrong clock');
  const length = (Date.parse(hour.endsAt) - Date.now()) / 1000;
  late.check(Math.abs(length - 3600) < 60, `a silence of one hour lasts ${length} s`);
  late.check(hour.status.state === 'active', `a silence made now is ${hour.status.state}`);
  // Charts end now by the server's clock.
  await late.goto('/m/odd?range=15m');
  await late.p.locator('main canvas').first().waitFor();
  await late.dontSee(/last sample \d+ min ago/i);
  for (const s of [pasted, hour]) await fetch(`${base}/api/v2/silence/${s.id}`, { method: 'DELETE' });
}
