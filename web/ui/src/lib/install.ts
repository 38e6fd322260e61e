// The commands of docs/install.md, which is their only source: the dialog and the
// document cannot differ.
import document from '../../../../docs/install.md?raw';

export interface Way {
  name: string; // such as "Debian and Ubuntu"
  text: string; // what makes a machine one that is monitored
}

const block = (section: string, label: string) =>
  new RegExp(`^\`\`\`\\w+ ${label}\\n([\\s\\S]*?)\\n\`\`\``, 'm').exec(section)?.[1];

// ways are the sections that have a block for the exporter, in their order.
export const ways = (markdown: string = document): Way[] =>
  markdown
    .split(/^## /m)
    .slice(1)
    .flatMap((section) => {
      const text = block(section, 'exporter');
      return text === undefined ? [] : [{ name: section.slice(0, section.indexOf('\n')), text }];
    });

// listed is how a server without a discovery method is told of machines.
export const listed = (markdown: string = document): string => block(markdown, 'static') ?? '';
