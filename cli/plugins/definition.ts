import { Ajv } from 'ajv';

const kindPattern = /^[a-z][a-z0-9-]{1,39}$/;
const services = ['files', 'requests', 'messages'];

/** What is wrong with what a plugin gives as a connector; nothing when it can be used. Checked by hand, since nobody has checked its types. */
export function mistakesOf(given: unknown): string[] {
  if (typeof given !== 'object' || given === null)
    return ['its default export must be a connector, as `defineConnector` gives it, or a list of them'];
  const { kind, serves, summary, config, secrets, lint, open } = given as Record<string, unknown>;
  const name = typeof kind === 'string' ? kind.slice(0, 100) : 'connector';
  const mistakes: string[] = [];
  const expect = (isRight: boolean, what: string): void => {
    if (!isRight) mistakes.push(`${name}: ${what}`);
  };
  expect(
    typeof kind === 'string' && kindPattern.test(kind),
    'kind must be 2 to 40 small letters, digits and -, a letter first',
  );
  expect(services.includes(serves as string), `serves must be one of ${services.join(', ')}`);
  expect(typeof summary === 'string' && summary.trim() !== '', 'summary must be a sentence');
  expect(isClosedObject(config), 'config must be a JSON Schema of an object with additionalProperties: false');
  expect(isSchema(config), 'config must be a valid JSON Schema');
  expect(areSecrets(secrets), 'secrets must name each secret with its { description }');
  expect(lint === undefined || typeof lint === 'function', 'lint must be a function');
  expect(typeof open === 'function', 'open must be a function');
  return mistakes;
}

function isClosedObject(config: unknown): boolean {
  const { type, properties, additionalProperties } = (config ?? {}) as Record<string, unknown>;
  return type === 'object' && typeof properties === 'object' && additionalProperties === false;
}

function isSchema(config: unknown): boolean {
  try {
    new Ajv({ strict: false }).compile(config as object);
    return true;
  } catch {
    return false;
  }
}

function areSecrets(secrets: unknown): boolean {
  if (typeof secrets !== 'object' || secrets === null || Array.isArray(secrets)) return false;
  return Object.values(secrets).every((secret) => typeof secret?.description === 'string');
}
