// quote writes a label value as PromQL has it.
export const quote = (value: string) => JSON.stringify(value);

// anyOf is a regular expression that matches exactly these values.
export const anyOf = (values: string[]) => values.map((v) => v.replace(/[.*+?^${}()|[\]\\]/g, '\\$&')).join('|');
