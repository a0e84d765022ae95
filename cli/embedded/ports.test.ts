import { once } from 'node:events';
import { type AddressInfo, createServer } from 'node:net';
import { expect, test } from 'vitest';
import { assertPortFree, freePorts, holdPort } from './ports.ts';

test('a taken port is named together with its option and the way out', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  await expect(assertPortFree('127.0.0.1', port, '--ui-port')).rejects.toMatchObject({
    kind: 'conflict',
    message: `port ${port} on 127.0.0.1 (--ui-port) is taken; choose another, or --ui-port 0 for any free one`,
  });
  server.close();
  await once(server, 'close');
  await assertPortFree('127.0.0.1', port, '--ui-port');
});

test('port 0 is always free', async () => {
  await assertPortFree('127.0.0.1', 0, '--port');
});

test('a host that is not of this machine is a mistake of the option', async () => {
  await expect(assertPortFree('192.0.2.1', 4000, '--port')).rejects.toMatchObject({ kind: 'invalid' });
});

test('a port that is held is taken until it is released, which may be done twice', async () => {
  const held = await holdPort('127.0.0.1');
  await expect(assertPortFree('127.0.0.1', held.port, '--port')).rejects.toMatchObject({ kind: 'conflict' });
  await held.release();
  await held.release();
  await assertPortFree('127.0.0.1', held.port, '--port');
});

test('several free ports differ', async () => {
  expect(new Set(await freePorts('127.0.0.1', 20)).size).toBe(20);
});
