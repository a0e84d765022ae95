import { Command } from 'commander';
import { addApplicationCommands } from './commands/applications.ts';
import { addApplyCommand } from './commands/apply.ts';
import { addDemoCommand } from './commands/demo.ts';
import { addDevCommand } from './commands/dev.ts';
import { addDoctorCommand } from './commands/doctor.ts';
import { addEndpointCommands } from './commands/endpoints.ts';
import { addExplainCommand } from './commands/explain.ts';
import { addFmtCommand } from './commands/fmt.ts';
import { addIntegrationCommands } from './commands/integrations.ts';
import { addKeyCommands } from './commands/keys.ts';
import { addPluginCommands } from './commands/plugins.ts';
import { addRunCommands } from './commands/runs.ts';
import { addSchemaCommand } from './commands/schema.ts';
import { addSecretCommands } from './commands/secrets.ts';
import { addServiceCommands } from './commands/serve.ts';
import { addServiceAccountCommands } from './commands/serviceAccounts.ts';
import { addSessionCommands } from './commands/sessions.ts';
import { addTenantCommands } from './commands/tenants.ts';
import { addTicketCommands } from './commands/tickets.ts';
import { addTransferCommands } from './commands/transfers.ts';
import { addUserCommands } from './commands/users.ts';
import { addValidateCommand } from './commands/validate.ts';
import type { CommandContext } from './context.ts';
import { packageVersion } from './version.ts';

/** Every verb of `waybill`. Parsing throws CommanderError instead of ending the process. */
export function buildProgram(context: CommandContext): Command {
  const program = new Command('waybill')
    .description('Headless managed file transfer: YAML pipelines move files whole, once, with proof.')
    .version(packageVersion())
    .helpCommand(false)
    .showSuggestionAfterError(true)
    // `--version` behind a verb is the verb's own.
    .enablePositionalOptions()
    .exitOverride();
  addDemoCommand(program, context);
  addDevCommand(program, context);
  addDoctorCommand(program, context);
  addValidateCommand(program, context);
  addFmtCommand(program, context);
  addExplainCommand(program, context);
  addSchemaCommand(program, context);
  addApplyCommand(program, context);
  addRunCommands(program, context);
  addTransferCommands(program, context);
  addEndpointCommands(program, context);
  addKeyCommands(program, context);
  addServiceAccountCommands(program, context);
  addUserCommands(program, context);
  addApplicationCommands(program, context);
  addIntegrationCommands(program, context);
  addTicketCommands(program, context);
  addSessionCommands(program, context);
  addSecretCommands(program, context);
  addPluginCommands(program, context);
  addTenantCommands(program, context);
  addServiceCommands(program, context);
  program.addHelpText(
    'after',
    '\nExit codes: 0 done, 1 the work failed, 2 wrong usage or invalid file, 3 cannot reach the server, 4 not allowed, 5 done in part (within `tolerate`).\nServer: --state, or WAYBILL_URL and WAYBILL_API_KEY.',
  );
  return program;
}
