// placeOf is where a target is scraped, as people read it, of its URL or address. The
// server scrapes itself without a network, at a name that leads nowhere.
export const inProcess = (at: string) => /\.in-process\.invalid(:\d+)?(\/|$)/.test(at);
export const placeOf = (at: string) => (inProcess(at) ? 'this process' : at.replace(/^http:\/\//, ''));
