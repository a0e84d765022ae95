import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';

export interface Position {
  line: number;
  character: number;
}

export interface EditorDiagnostic {
  range: { start: Position; end: Position };
  message: string;
}

/** The YAML language server that editors use, over stdio, with one schema for every document. */
export interface LanguageServer {
  /** Opens a document and waits for what is underlined in it. */
  open(uri: string, text: string): Promise<EditorDiagnostic[]>;
  complete(uri: string, position: Position): Promise<{ label: string; documentation?: unknown; insertText?: string }[]>;
  /** The text of the hover, or null. */
  hover(uri: string, position: Position): Promise<string | null>;
  stop(): Promise<void>;
}

const answerTimeoutMs = 60_000;

/** Starts the server of the npm package `yaml-language-server` with the schema at that path; it fetches nothing. Rejects when it ends. */
export async function startLanguageServer(schemaUrl: string): Promise<LanguageServer> {
  const require = createRequire(import.meta.url);
  const program = require.resolve('yaml-language-server/bin/yaml-language-server');
  const child = spawn(process.execPath, [program, '--stdio'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const connection = connect(child);
  await connection.request('initialize', {
    processId: process.pid,
    rootUri: null,
    capabilities: {
      workspace: { configuration: true },
      textDocument: {
        completion: { completionItem: { documentationFormat: ['markdown'], snippetSupport: false } },
        hover: { contentFormat: ['markdown'] },
      },
    },
  });
  connection.settings = {
    yaml: {
      schemas: { [schemaUrl]: '*.yaml' },
      schemaStore: { enable: false },
      validate: true,
      hover: true,
      completion: true,
    },
  };
  connection.notify('initialized', {});
  return {
    async open(uri, text) {
      const diagnostics = connection.diagnosticsOf(uri);
      connection.notify('textDocument/didOpen', { textDocument: { uri, languageId: 'yaml', version: 1, text } });
      return diagnostics;
    },
    async complete(uri, position) {
      const answer = await connection.request('textDocument/completion', { textDocument: { uri }, position });
      return (answer as { items: { label: string }[] }).items;
    },
    async hover(uri, position) {
      const answer = await connection.request('textDocument/hover', { textDocument: { uri }, position });
      return (answer as { contents: { value: string } } | null)?.contents.value ?? null;
    },
    async stop() {
      const ended = once(child, 'exit');
      await connection.request('shutdown', null);
      connection.notify('exit', null);
      await ended;
    },
  };
}

interface Message {
  id?: number | string;
  method?: string;
  params?: unknown;
  result?: unknown;
  error?: { message: string };
}

/** JSON-RPC with `Content-Length` headers, as the protocol frames it. */
function connect(child: ChildProcess) {
  const waiting = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  const diagnosed = new Map<string, (diagnostics: EditorDiagnostic[]) => void>();
  let lastId = 0;
  let received = Buffer.alloc(0);
  const send = (message: object): void => {
    const body = Buffer.from(JSON.stringify({ jsonrpc: '2.0', ...message }));
    child.stdin?.write(`Content-Length: ${body.length}\r\n\r\n`);
    child.stdin?.write(body);
  };
  const connection = {
    settings: {} as Record<string, unknown>,
    notify: (method: string, params: unknown): void => send({ method, params }),
    request(method: string, params: unknown): Promise<unknown> {
      const id = ++lastId;
      send({ id, method, params });
      return withDeadline(method, (resolve, reject) => waiting.set(id, { resolve, reject }));
    },
    diagnosticsOf: (uri: string): Promise<EditorDiagnostic[]> =>
      withDeadline(`diagnostics of ${uri}`, (resolve) => diagnosed.set(uri, resolve)),
  };
  const receive = (message: Message): void => {
    if (message.method === 'workspace/configuration') {
      const { items } = message.params as { items: { section: string }[] };
      send({ id: message.id, result: items.map(({ section }) => connection.settings[section] ?? null) });
    } else if (message.method === 'textDocument/publishDiagnostics') {
      const { uri, diagnostics } = message.params as { uri: string; diagnostics: EditorDiagnostic[] };
      diagnosed.get(uri)?.(diagnostics);
    } else if (message.method !== undefined) {
      // Requests of the server's own, such as to register for changes of settings, need an answer.
      if (message.id !== undefined) send({ id: message.id, result: null });
    } else {
      const asked = waiting.get(Number(message.id));
      if (message.error) asked?.reject(new Error(message.error.message));
      else asked?.resolve(message.result);
    }
  };
  child.stdout?.on('data', (chunk: Buffer) => {
    received = Buffer.concat([received, chunk]);
    for (;;) {
      const head = /^Content-Length: (\d+)[\s\S]*?\r\n\r\n/.exec(received.toString('latin1'));
      const length = Number(head?.[1]);
      if (!head || received.length < head[0].length + length) return;
      const body = received.subarray(head[0].length, head[0].length + length);
      received = received.subarray(head[0].length + length);
      receive(JSON.parse(body.toString('utf8')) as Message);
    }
  });
  child.once('exit', (code) => {
    for (const { reject } of waiting.values()) reject(new Error(`the language server ended with ${code}`));
  });
  return connection;
}

function withDeadline<Value>(
  what: string,
  begin: (resolve: (value: Value) => void, reject: (error: Error) => void) => void,
): Promise<Value> {
  const { promise, resolve, reject } = Promise.withResolvers<Value>();
  const timer = setTimeout(() => reject(new Error(`no answer in ${answerTimeoutMs} ms: ${what}`)), answerTimeoutMs);
  begin(resolve, reject);
  return promise.finally(() => clearTimeout(timer));
}
