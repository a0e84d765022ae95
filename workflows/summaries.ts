import type { Json } from '../schema/plan.ts';

/** "copy partner:/out/*.csv -> landing:/acme/": what a step does, for Temporal's UI. At most 200 characters. */
export function summarise(use: string, input: Record<string, Json>): string {
  return words(use, input).slice(0, 200);
}

function words(use: string, input: Record<string, Json>): string {
  switch (use) {
    case 'transfer.copy@1':
      return `copy ${place(input.from)} -> ${place(input.to)}`;
    case 'files.list@1':
      return `list ${place(input.from)}`;
    case 'files.move@1':
      return `move ${place(input.from)} -> ${String(input.to)}`;
    case 'files.delete@1':
      return `delete ${place(input.at)}`;
    case 'webhook.send@1':
      return `send ${String(input.event)}`;
    case 'audit.write@1':
      return `write ${String(input.event)}`;
    default:
      return use;
  }
}

function place(location: Json | undefined): string {
  if (typeof location === 'string') return location;
  const { endpoint, path, glob } = (location ?? {}) as Record<string, string>;
  return `${endpoint}:${path ?? glob ?? ''}`;
}
