import { expect, test } from 'vitest';
import { holdsAddress, isWithin, readAllowedCidrs } from './allowedAddresses.ts';

test('networks are stored in canonical form, each once, and mapped ones as the IPv4 that they mean', () => {
  const written = ['2001:DB8:0:0::/32', '2001:db8::/32', '10.0.0.0/8', '::ffff:10.0.0.0/104', '0.0.0.0/0', '::/0'];
  expect(readAllowedCidrs(written)).toEqual(['2001:db8::/32', '10.0.0.0/8', '0.0.0.0/0', '::/0']);
  expect(readAllowedCidrs([])).toEqual([]);
});

test.each([
  '',
  '*',
  '/8',
  '10.0.0.0',
  '10.0.0.0/',
  '10.0.0.0/33',
  '10.0.0.0/-1',
  '10.0.0.0/8 ',
  '10.0.0.0/8\n',
  '10/8',
  '010.0.0.0/8',
  '0x0a.0.0.0/8',
  '167772160/8',
  '2001:db8::/129',
  '::ffff:010.0.0.0/104',
  'fe80::1%eth0/128',
  'localhost/8',
])('%j is no network, and the refusal names it', (cidr) => {
  expect(() => readAllowedCidrs(['192.0.2.0/24', cidr])).toThrow(
    expect.objectContaining({
      kind: 'invalid',
      message: expect.stringContaining(`${JSON.stringify(cidr)} is not a network`),
      context: { field: 'allowedCidrs' },
    }),
  );
});

test.each([
  ['10.1.2.3/8', '10.0.0.0/8'],
  ['2001:db8::1/32', '2001:db8::/32'],
  ['::ffff:0:0/95', '::fffe:0:0/95'],
])('%s has bits behind its length, and the refusal says %s', (cidr, meant) => {
  expect(() => readAllowedCidrs([cidr])).toThrow(
    expect.objectContaining({ kind: 'invalid', message: expect.stringMatching(`${cidr}.*the network is ${meant}$`) }),
  );
});

test('a key has at most 50 networks, and the refusal of a long text shows its beginning only', () => {
  const many = Array.from({ length: 51 }, (_, index) => `192.0.2.${index}/32`);
  expect(readAllowedCidrs(many.slice(1))).toHaveLength(50);
  expect(() => readAllowedCidrs(many)).toThrow('at most 50');
  let message = '';
  try {
    readAllowedCidrs(['x'.repeat(100_000)]);
  } catch (error) {
    message = (error as Error).message;
  }
  expect(message).toContain('is not a network');
  expect(message.length).toBeLessThan(200);
});

test.each<[string, string | undefined, boolean]>([
  ['10.0.0.0/8', '10.255.0.1', true],
  ['10.0.0.0/8', '11.0.0.1', false],
  ['10.0.0.0/8', '::ffff:10.1.2.3', true],
  ['10.0.0.0/8', '::ffff:11.1.2.3', false],
  ['192.0.2.7/32', '192.0.2.8', false],
  ['2001:db8::/32', '2001:db8:1::1', true],
  ['2001:db8::/32', '2001:db9::1', false],
  ['fe80::/10', 'fe80::1%eth0', true],
  ['::/0', '10.1.2.3', false],
  ['::/0', '::ffff:10.1.2.3', false],
  ['0.0.0.0/0', '2001:db8::1', false],
  ['0.0.0.0/0', undefined, false],
  ['0.0.0.0/0', '', false],
  ['0.0.0.0/0', 'garbage', false],
])('%s holds the address %s: %s', (cidr, address, expected) => {
  expect(holdsAddress(['198.51.100.0/24', cidr], address)).toBe(expected);
});

test.each<[string, string, boolean]>([
  ['10.0.0.0/8', '10.0.0.0/8', true],
  ['10.128.0.0/9', '10.0.0.0/8', true],
  ['10.0.0.0/8', '10.0.0.0/9', false],
  ['11.0.0.0/9', '10.0.0.0/8', false],
  ['10.0.0.0/8', '::/0', false],
  ['2001:db8:1::/48', '2001:db8::/32', true],
  ['2001:db8::/32', '2001:db8::/48', false],
])('%s is within %s: %s', (cidr, other, expected) => {
  expect(isWithin(cidr, ['198.51.100.0/24', other])).toBe(expected);
});
