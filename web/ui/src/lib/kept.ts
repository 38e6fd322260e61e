// Which times the store knows nothing of any more.
import { fields, parseDuration } from './time';

export interface Kept {
  oldest: number | undefined; // Unix seconds of the oldest sample; undefined: there is none
  retention: string; // as the server writes it: 15d, 15d or 10GiB, 10GiB
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

// day is the day of t, with the year where it is not that of now.
function day(t: number, now: number, utc: boolean): string {
  const f = fields(t, utc);
  return `${f.d} ${MONTHS[f.mo - 1]}${f.y === fields(now, utc).y ? '' : ` ${f.y}`}`;
}

// notKept says why nothing is there of a range that ends at to; undefined where
// retention is not the reason.
export function notKept(to: number, { oldest, retention }: Kept, now: number, utc: boolean): string | undefined {
  if (oldest === undefined || to >= oldest) return undefined;
  const limit = parseDuration(retention.split(' or ')[0]!);
  // Blocks go as a whole, up to a tenth of the retention later.
  const cut = !/B$/.test(retention) && limit !== undefined && now - oldest < limit * 0.8;
  return cut
    ? `The oldest sample is from ${day(oldest, now, utc)}.`
    : `No data before ${day(oldest, now, utc)} (retention ${retention}).`;
}
