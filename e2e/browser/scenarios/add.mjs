// Somebody adds a machine: the commands of docs/install.md, how it is found, and a
// tick once it is seen.
import { writeFileSync } from 'node:fs';

export default async function add(browser, { inventory, after, document }) {
  const page = await browser.open('/');
  await page.p.getByRole('button', { name: 'Add a machine' }).click();
  await page.see('Install the exporter on it', 'Found by inventory', 'No new machine yet');
  const dialog = page.p.getByRole('dialog');
  for (const [way, says] of [['Debian and Ubuntu', 'apt-get install'], ['Fedora', 'rpm -U'], ['clan', 'roles.exporter']]) {
    await dialog.getByRole('button', { name: way }).click();
    const text = await dialog.locator('pre').first().innerText();
    page.check(text.includes(says), `${way}: ${text}`);
    page.check(document.includes(text), `${way} is not in docs/install.md: ${text}`);
  }
  await browser.shoot('add');
  writeFileSync(inventory, after);
  await page.see(/new is reporting/);
  await page.dontSee('No new machine yet');
  await dialog.getByRole('link', { name: 'new' }).click();
  await page.see('new');
}
