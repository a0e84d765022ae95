/** Shorter ones are taken for words: replacing them would make a text unreadable and hide nothing. */
const shortestSecret = 4;

/**
 * Gives a function that takes the secrets out of a text. Servers repeat what they were sent, in their errors and in their
 * answers, also escaped for a URL or for JSON, and as base64.
 */
export function createRedactor(secrets: readonly string[]): (text: string) => string {
  // A file that holds a secret often ends in a line break, which does not travel with it.
  const whole = secrets.flatMap((secret) => [secret, secret.trim()]);
  const forms = whole.filter((secret) => secret.length >= shortestSecret).flatMap(formsOf);
  const longestFirst = [...new Set(forms)].sort((left, right) => right.length - left.length);
  return (text) => longestFirst.reduce((rest, form) => rest.replaceAll(form, '***'), text);
}

function formsOf(secret: string): string[] {
  const base64 = Buffer.from(secret, 'utf8').toString('base64');
  return [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1), base64, base64.replace(/=+$/, '')];
}
