// What the bootstrap says while it works: on stderr, so that stdout stays the command's own.
import { spawn } from 'node:child_process';

/** One line for people, on stderr. */
export function say(message) {
  process.stderr.write(`waybill: ${message}\n`);
}

/** An error for people: its message is the whole story, no stack is shown. */
export class BootstrapError extends Error {}

const reportEveryMs = 15_000;
const keptOutputBytes = 64 * 1024;

/**
 * Runs a command that may take minutes, saying how long it has been at it. Its output is kept and shown only when it fails.
 * Gives its stdout. Throws BootstrapError when it cannot start or ends with another code than 0.
 */
export function runQuietly(title, command, commandArguments, options) {
  const startedAt = Date.now();
  const interactive = process.stderr.isTTY === true;
  const elapsed = () => `${Math.round((Date.now() - startedAt) / 1000)} s`;
  const ticker = setInterval(
    () => (interactive ? process.stderr.write(`\r  ${title}: ${elapsed()} `) : say(`${title}: ${elapsed()} so far`)),
    interactive ? 1000 : reportEveryMs,
  );
  return new Promise((resolve, reject) => {
    const child = spawn(command, commandArguments, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let stdout = '';
    let output = '';
    const keep = (chunk) => {
      output = (output + chunk).slice(-keptOutputBytes);
    };
    child.stdout.on('data', (chunk) => {
      stdout += chunk;
      keep(chunk);
    });
    child.stderr.on('data', keep);
    child.on('error', (error) => reject(new BootstrapError(`${title} could not start: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) resolve(stdout);
      else
        reject(
          new BootstrapError(
            `${title} failed (${signal ?? `exit code ${code}`}) after ${elapsed()}:\n${output.trimEnd()}`,
          ),
        );
    });
  }).finally(() => {
    clearInterval(ticker);
    if (interactive) process.stderr.write('\r\x1b[K');
  });
}
