import { maxAliasesPlugin } from '@escape.tech/graphql-armor-max-aliases';
import { maxDepthPlugin } from '@escape.tech/graphql-armor-max-depth';
import { maxDirectivesPlugin } from '@escape.tech/graphql-armor-max-directives';
import { maxTokensPlugin } from '@escape.tech/graphql-armor-max-tokens';
import { createYoga } from 'graphql-yoga';
import type { Log } from '../connectors/contract.ts';
import type { ApiContext } from './context.ts';
import { costPlugin } from './cost.ts';
import { limits } from './limits.ts';
import { maskError } from './masking.ts';
import { apiSchema } from './schema/index.ts';

/** GraphQL over HTTP behind the server, which has authenticated the request and bounded its body. */
export function createGraphql(log: Log) {
  return createYoga<ApiContext>({
    schema: apiSchema,
    graphqlEndpoint: '/graphql',
    graphiql: false,
    landingPage: false,
    cors: false,
    batching: false,
    multipart: false,
    logging: false,
    maskedErrors: { maskError: (error) => maskError(error, log) },
    plugins: [
      maxTokensPlugin({ n: limits.tokens, errorMessage: 'Syntax Error:' }),
      maxDepthPlugin({ n: limits.depth }),
      maxAliasesPlugin({ n: limits.aliases }),
      maxDirectivesPlugin({ n: limits.directives }),
      costPlugin(),
    ],
  });
}
