import { Type } from 'typebox';
import { findAction } from '../schema/actions.ts';
import { EndpointDocument, WebhookDocument } from '../schema/configuration.ts';
import { pipelineSchemas, RetrySettings, TimeoutSettings } from '../schema/pipeline.ts';

const schemas = pipelineSchemas(() => Type.Unknown());

/** The keys of each document in the order in which `waybill fmt` writes them: that of the schemas. */
export const documentOrder: Readonly<Record<string, readonly string[]>> = {
  pipeline: keysOf(schemas.pipeline),
  endpoint: keysOf(EndpointDocument),
  webhook: keysOf(WebhookDocument),
};

/** Of a step of any kind: who it is and whether it runs, what it does, how, and what happens otherwise. */
export const stepOrder: readonly string[] = [
  ...['id', 'if', 'when', 'summary', 'use', 'forEach', 'as', 'wait'],
  ...['maxParallel', 'tolerate', 'failFast', 'with', 'retry', 'timeout'],
  ...['parallel', 'steps', 'else', 'compensate', 'onError'],
];

/** The order of the keys below one key of a step, or undefined: as they stand. */
export function innerOrder(key: string, use: unknown): readonly string[] | undefined {
  if (key === 'retry') return keysOf(RetrySettings);
  if (key === 'timeout') return keysOf(TimeoutSettings);
  if (key === 'wait') return ['until', 'every', 'deadline', 'steps'];
  if (key !== 'with' || typeof use !== 'string') return undefined;
  const action = findAction(use);
  return action ? keysOf(action.input) : undefined;
}

function keysOf(schema: { properties: object }): string[] {
  return Object.keys(schema.properties);
}
