import { Status, severityLevel } from '../Status';
import { severityWord } from '../../lib/words';

// Severity is the label as a status; what is not set is said to be so.
export function Severity({
  severity,
  short = false,
  badge = false,
}: {
  severity: string;
  short?: boolean;
  badge?: boolean;
}) {
  return (
    <Status level={severityLevel(severity)} badge={badge}>
      {short ? <span class="sr">{severityWord(severity)}</span> : severityWord(severity)}
    </Status>
  );
}
