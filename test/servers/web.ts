import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createTlsServer, type ServerOptions } from 'node:https';
import type { AddressInfo } from 'node:net';

/** An HTTP server on 127.0.0.1 that keeps what it was asked. */
export interface WebServer {
  url: string;
  port: number;
  asked: AskedRequest[];
  /** Ends every connection. Safe twice. */
  stop(): Promise<void>;
}

export interface AskedRequest {
  method: string;
  /** With its query. */
  path: string;
  headers: IncomingHttpHeaders;
  body: string;
}

/** Answers each request, whose body has come by then. */
export async function startWeb(
  answer: (request: AskedRequest, response: ServerResponse) => void,
  tls?: ServerOptions,
): Promise<WebServer> {
  const asked: AskedRequest[] = [];
  const listener = (message: IncomingMessage, response: ServerResponse): void => {
    const parts: Buffer[] = [];
    message.on('data', (part: Buffer) => parts.push(part));
    message.on('end', () => {
      const body = Buffer.concat(parts).toString('utf8');
      const request = { method: message.method ?? '', path: message.url ?? '', headers: message.headers, body };
      asked.push(request);
      answer(request, response);
    });
  };
  const server = tls ? createTlsServer(tls, listener) : createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `${tls ? 'https' : 'http'}://127.0.0.1:${port}`,
    port,
    asked,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
