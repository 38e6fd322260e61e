import { Icon } from './icons';

export type Level = 'crit' | 'warn' | 'ok' | 'info' | 'off';

// Status is always a colour, an icon and a word.
export function Status({
  level,
  icon,
  badge,
  children,
}: {
  level: Level;
  icon?: string;
  badge?: boolean;
  children: preact.ComponentChildren;
}) {
  return (
    <span class={`status ${level}${badge ? ' badge' : ''}`}>
      <Icon name={icon ?? level} />
      <span>{children}</span>
    </span>
  );
}

export const severityLevel = (severity: string | undefined): Level =>
  severity === 'critical' ? 'crit' : severity === 'warning' ? 'warn' : severity === 'info' ? 'info' : 'off';
