import { type ErrorKind, WaybillError } from '../../schema/errors.ts';
import { isCertificateCode, untrustedCertificate } from '../exchange.ts';

/** What nodemailer puts on its errors. */
interface SmtpFailure extends Error {
  code?: string;
  /** The system's or OpenSSL's own code, under that of the library. */
  originalCode?: string;
  responseCode?: number;
  response?: string;
  command?: string;
}

const quotedCharacters = 300;

/** A failure of a mail server as an error that says what to do; the server's words are quoted without the endpoint's secrets. */
export function smtpError(
  thrown: unknown,
  place: { server: string; host: string; username: string | null; redact(text: string): string },
): WaybillError {
  if (thrown instanceof WaybillError) return thrown;
  const error = thrown as SmtpFailure;
  const { server, redact } = place;
  // The library's error is not kept as the cause: its fields repeat what was sent.
  const facts = { operation: 'sending', host: place.host, command: error.command, status: error.responseCode };
  const original = error.originalCode ?? error.code ?? '';
  if (isCertificateCode(original)) return untrustedCertificate(server, original, facts);
  const quoted =
    error.response === undefined ? '' : `: ${redact(error.response.replace(/\s+/g, ' ')).slice(0, quotedCharacters)}`;
  const { kind, says } = reading(error, place);
  return new WaybillError(kind, `${server} ${says}${quoted}`, facts);
}

function reading(
  { code, originalCode, responseCode = 0, command = '' }: SmtpFailure,
  { username }: { username: string | null },
): { kind: ErrorKind; says: string } {
  const isTemporary = responseCode >= 400 && responseCode < 500;
  switch (code) {
    case 'EAUTH':
      return isTemporary
        ? { kind: 'unavailable', says: 'cannot sign anybody in at the moment' }
        : { kind: 'unauthenticated', says: `refuses the sign-in of ${username}` };
    case 'EENVELOPE':
    case 'EMESSAGE':
      return readingOfRefusal(responseCode, command);
    case 'ETLS':
      return command === 'STARTTLS' && responseCode >= 400
        ? {
            kind: 'unsupported',
            says: 'does not encrypt the line (STARTTLS); nothing was said. Use the port for TLS, or another server',
          }
        : { kind: 'protocol', says: `does not speak TLS as expected (${originalCode ?? 'ETLS'})` };
    case 'EPROTOCOL':
      return responseCode >= 400
        ? { kind: 'unavailable', says: 'does not take messages at the moment' }
        : { kind: 'protocol', says: 'does not speak SMTP as expected' };
    case 'ETIMEDOUT':
      return { kind: 'timeout', says: 'does not answer' };
    default:
      return { kind: 'unavailable', says: `broke off the connection (${originalCode ?? code ?? 'no reason given'})` };
  }
}

/** RFC 5321, section 4.2, and RFC 4954 for 530. */
function readingOfRefusal(responseCode: number, command: string): { kind: ErrorKind; says: string } {
  const what = command === 'RCPT TO' ? 'the recipients' : command === 'MAIL FROM' ? 'the sender' : 'the message';
  if (responseCode === 530) return { kind: 'unauthenticated', says: `wants a sign-in before it takes ${what}` };
  if (responseCode >= 400 && responseCode < 500)
    return { kind: 'unavailable', says: `does not take ${what} at the moment` };
  return { kind: 'invalid', says: `refuses ${what}` };
}
