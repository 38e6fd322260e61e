// shortError leaves out of a scrape error what the reader knows already: the
// URL that was asked and how Go nests errors.
export function shortError(text: string | undefined): string {
  if (!text) return '';
  return text
    .replace(/^(Get|Post) "[^"]*": /, '')
    .replace(/dial (tcp|udp|unix) (?!lookup )[^ ]+: /, '')
    .replace(/dial (tcp|udp): lookup (\S+?)( on \S+)?: no such host/, 'name $2 not found')
    .replace(/\b(connect|lookup|read|write): (?=\S)/, '')
    .replace(/^EOF$/, 'connection closed (empty reply)');
}
