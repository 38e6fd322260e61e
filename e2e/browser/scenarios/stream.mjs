// A machine goes down and comes back while pages are open. One learns it from the stream
// alone; the other has no stream and polls.
import { PATIENCE } from '../browser.mjs';

export default async function stream(browser, { control }) {
  const streamed = await browser.open('/?view=tiles');
  // Nothing is asked for again by the clock.
  await streamed.p.addInitScript(() => {
    const real = window.setInterval;
    window.setInterval = (then, ms, ...rest) => (ms >= 5000 ? 0 : real(then, ms, ...rest));
  });
  await streamed.goto('/?view=tiles');
  const polling = await browser.open('/?view=tiles');
  let blocked = 0;
  await polling.p.route('**/api/clanmon/v1/stream*', (r) => {
    blocked++;
    return r.fulfill({ status: 204 });
  });
  await polling.p.addInitScript(() => localStorage.setItem('clanmon.refresh', '10s'));
  await polling.goto('/?view=tiles');

  const alpha = (page, is) => page.p.getByRole('link', { name: is }).waitFor({ timeout: 2 * PATIENCE });
  for (const [what, is] of [['up', /^alpha: (?!Down)/], ['down', /^alpha: Down/], ['up', /^alpha: (?!Down)/]]) {
    await fetch(`${control}/${what}`);
    await alpha(streamed, is);
    await alpha(polling, is);
  }
  polling.check(blocked > 0, 'did not ask for the stream');
  await streamed.close();
  await polling.close();
}
