import { request } from 'node:http';
import { connect } from 'node:net';

export interface Asked {
  status: number;
  /** The code of the first error, below GraphQL or in it; null when there is none. */
  code: string | null;
  // biome-ignore lint/suspicious/noExplicitAny: answers of any shape
  body: any;
}

export interface Asking {
  method?: 'GET' | 'POST';
  credential?: string | null;
  accept?: string;
  /** A GraphQL operation. */
  query?: string;
  variables?: Record<string, unknown>;
  /** In the place of a GraphQL operation. */
  json?: unknown;
}

let asked = 0;

/** Each request comes from an address of its own, so that no limit of an address answers in the place of what is tried. */
export function ask(
  url: string,
  { method = 'POST', credential = null, accept, query, variables, json }: Asking,
): Promise<Asked> {
  asked++;
  const localAddress = `127.2.${asked >> 8}.${asked & 255}`;
  const headers = {
    ...(credential === null ? {} : { authorization: `Bearer ${credential}` }),
    ...(accept === undefined ? {} : { accept }),
    ...(method === 'POST' ? { 'content-type': 'application/json' } : {}),
  };
  return new Promise((resolve, reject) => {
    const sent = request(url, { method, headers, localAddress, agent: false }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (part: string) => {
        text += part;
      });
      response.once('end', () => resolve(asAsked(response.statusCode!, text)));
      response.once('error', reject);
    });
    sent.once('error', reject);
    sent.end(method === 'POST' ? JSON.stringify(json ?? { query, variables }) : undefined);
  });
}

/** Sends these bytes as they are, and gives the answer: the status 0 when the connection is closed without one. */
export function askRaw(url: string, bytes: string | Buffer): Promise<Asked> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname, () => socket.write(bytes));
    let text = '';
    socket.setEncoding('utf8').on('data', (part: string) => {
      text += part;
      const [head = '', ...rest] = text.split('\r\n\r\n');
      const length = Number(/^content-length: (\d+)/im.exec(head)?.[1] ?? Number.NaN);
      if (Buffer.byteLength(rest.join('\r\n\r\n')) >= length || /^0\r\n/m.test(rest.join())) socket.destroy();
    });
    socket.once('error', (error: NodeJS.ErrnoException) => (error.code === 'ECONNRESET' ? undefined : reject(error)));
    socket.once('close', () => {
      const [head = '', body = ''] = text.split('\r\n\r\n');
      resolve(
        asAsked(
          Number(/^HTTP\/1\.1 (\d{3})/.exec(head)?.[1] ?? 0),
          body.replace(/^[0-9a-f]+\r\n/i, '').split('\r\n')[0]!,
        ),
      );
    });
  });
}

function asAsked(status: number, text: string): Asked {
  let body: { errors?: Array<{ extensions?: { code?: string } }> } | string | null = text;
  try {
    body = text === '' ? null : JSON.parse(text);
  } catch {
    // An answer that is no JSON, such as a page, stays the text that it is.
  }
  const errors = typeof body === 'object' ? body?.errors : undefined;
  return { status, code: errors?.[0]?.extensions?.code ?? /"code":"([A-Z_]+)"/.exec(text)?.[1] ?? null, body };
}
