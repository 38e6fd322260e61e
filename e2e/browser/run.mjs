// Runs one scenario in a real Chromium, or in Firefox if the options name it, and prints what was wrong, as JSON:
//
//   node run.mjs NAME < options.json
//
// A scenario is scenarios/NAME.mjs, a function that gets a Browser. The options
// are what the Go test knows, such as the address of the server.
import { readFileSync } from 'node:fs';
import { Browser } from './browser.mjs';
import { Firefox } from './firefox.mjs';

const options = JSON.parse(readFileSync(0, 'utf8'));
const { default: scenario } = await import(`./scenarios/${process.argv[2]}.mjs`);
const browser = await (options.firefox ? Firefox : Browser).launch(options);
let figures;
try {
  figures = await scenario(browser, options);
} catch (e) {
  browser.problem(e.stack ?? String(e));
  await browser.shoot('failed').catch(() => undefined);
} finally {
  await browser.close();
}
console.log(JSON.stringify({ problems: browser.problems, figures: figures ?? {} }));
