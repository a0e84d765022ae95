import { type ExecutionArgs, GraphQLError } from 'graphql';
import { type ComplexityEstimator, getComplexity } from 'graphql-query-complexity';
import type { Plugin } from 'graphql-yoga';
import { limits } from './limits.ts';

/**
 * Counts what an operation may cost before it runs: one for each field, times the rows of the connections around it.
 * The cost stands in `extensions.cost`; one that is too high is refused.
 */
export function costPlugin(): Plugin {
  return {
    onExecute({ args, setResultAndStopExecution }) {
      const cost = costOf(args);
      if (cost > limits.cost) {
        setResultAndStopExecution({ errors: [tooCostly(cost)], extensions: { cost: costFacts(cost) } });
        return undefined;
      }
      return {
        onExecuteDone({ result, setResult }) {
          if (result === null || typeof result !== 'object' || Symbol.asyncIterator in result) return;
          setResult({ ...result, extensions: { ...result.extensions, cost: costFacts(cost) } });
        },
      };
    },
    onSubscribe({ args, setResultAndStopExecution }) {
      const cost = costOf(args);
      if (cost > limits.cost) setResultAndStopExecution({ errors: [tooCostly(cost)] });
    },
  };
}

const connectionOf: ComplexityEstimator = ({ args, field, childComplexity }) => {
  if (!field.args.some(({ name }) => name === 'first')) return undefined;
  const first = typeof args.first === 'number' ? args.first : limits.pageDefault;
  return limits.connectionCost + Math.min(Math.max(first, 1), limits.pageMost) * childComplexity;
};
const oneEach: ComplexityEstimator = ({ childComplexity }) => 1 + childComplexity;

function costOf({ schema, document, variableValues, operationName }: ExecutionArgs): number {
  try {
    return getComplexity({
      schema,
      query: document,
      variables: { ...variableValues },
      ...(operationName == null ? {} : { operationName }),
      estimators: [connectionOf, oneEach],
    });
  } catch (error) {
    // Variables that do not fit: execution says so, and costs nothing.
    if (error instanceof GraphQLError) return 0;
    throw error;
  }
}

function tooCostly(cost: number): GraphQLError {
  const message = `The operation costs ${cost}; at most ${limits.cost} is allowed. Ask for fewer rows (first) or fewer nested lists.`;
  return new GraphQLError(message, { extensions: { code: 'COST_LIMIT', retryable: false } });
}

function costFacts(cost: number) {
  return { requested: cost, limit: limits.cost };
}
