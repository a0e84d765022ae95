import type { ApiClient } from './client.ts';
import { connectClient } from './client.ts';
import { createOutput, type Output, type OutputStreams } from './output.ts';
import type { CommandEnvironment, Environment } from './settings.ts';

/** What every command gets from main.ts. */
export interface CommandContext {
  streams: OutputStreams;
  environment: Environment;
  command: CommandEnvironment;
  /** Aborted by the first SIGINT or SIGTERM, for commands that take over the signals. */
  setExitCode(code: number): void;
}

export interface CommonOptions {
  json?: boolean;
  state?: string;
}

export function outputOf(context: CommandContext, options: CommonOptions): Output {
  return createOutput(context.streams, { json: options.json === true, noColor: context.command.noColor });
}

export function clientOf(context: CommandContext, options: CommonOptions): ApiClient {
  return connectClient(context.command, options.state);
}
