// shortError leaves out of a scrape error what the reader knows already: the
// URL that was asked and how Go nests errors.
export function shortError(text: string | undefined): string {
  if (!text) return '';
  return text
    .replace(/^(Get|Post) "[^"]*": /, '')
    .replace(/dial (tcp|udp|unix) [^ ]+: /, '')
    .replace(/\b(connect|lookup|read|write): (?=\S)/, '')
    .replace(/^EOF$/, 'closes the connection without an answer');
}
