import { Status, severityLevel } from '../Status';

// Severity is the label as a status; what is not set is said to be so.
const wordOf = (severity: string) => (severity === 'none' ? 'internal' : severity || 'no severity');

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
      {short ? <span class="sr">{wordOf(severity)}</span> : wordOf(severity)}
    </Status>
  );
}
