import { describe, expect, test } from 'vitest';
import { decodeListed, fileKey, folderKey, pathOfKey } from './address.ts';
import { answerError, hasCode, hasStatus } from './failures.ts';
import { listOf, readError, readXml, textOf, writeXml } from './xml.ts';

const asked = {
  operation: 'reading',
  path: '/out/a.csv',
  bucket: 'acme',
  region: 'eu-central-1',
  redact: (text: string) => text.replaceAll('CANARY', '***'),
};

function errorOf(status: number, code: string, more: { headers?: Record<string, string>; inner?: string } = {}) {
  const text = code === '' ? '' : `<?xml version="1.0"?>\n<Error><Code>${code}</Code>${more.inner ?? ''}</Error>`;
  return answerError({ status, headers: more.headers ?? {}, text, bytes: text.length }, asked);
}

describe('what an answer means', () => {
  const kinds: Array<[number, string, string]> = [
    [404, 'NoSuchKey', 'not-found'],
    [404, 'NoSuchBucket', 'not-found'],
    [404, 'NoSuchUpload', 'not-found'],
    [404, '', 'not-found'],
    [403, 'AccessDenied', 'forbidden'],
    [403, '', 'forbidden'],
    [403, 'InvalidAccessKeyId', 'unauthenticated'],
    [403, 'SignatureDoesNotMatch', 'unauthenticated'],
    [400, 'ExpiredToken', 'unauthenticated'],
    [403, 'RequestTimeTooSkewed', 'unauthenticated'],
    [503, 'SlowDown', 'rate-limited'],
    [429, '', 'rate-limited'],
    [503, '', 'unavailable'],
    [500, 'InternalError', 'unavailable'],
    [200, 'InternalError', 'unavailable'],
    [502, '', 'unavailable'],
    [400, 'EntityTooLarge', 'invalid'],
    [400, 'KeyTooLongError', 'invalid'],
    [400, 'SomethingNew', 'invalid'],
    [403, 'QuotaExceeded', 'quota'],
    [507, 'InsufficientStorage', 'disk-full'],
    [400, 'BadDigest', 'integrity'],
    [400, 'XAmzContentSHA256Mismatch', 'integrity'],
    [412, 'PreconditionFailed', 'conflict'],
    [412, '', 'conflict'],
    [409, 'ConditionalRequestConflict', 'conflict'],
    [501, 'NotImplemented', 'unsupported'],
    [302, '', 'protocol'],
  ];
  for (const [status, code, kind] of kinds)
    test(`${status} ${code || 'without a word'} is ${kind}`, () => {
      const error = errorOf(status, code);
      expect(error.kind).toBe(kind);
      expect(error.message).toContain('/out/a.csv: ');
      expect(error.context).toMatchObject({ operation: 'reading', path: '/out/a.csv', status });
      expect(hasStatus(error, status)).toBe(true);
      expect(hasCode(error, code)).toBe(code !== '');
    });

  test('a server that asks to slow down says for how long', () => {
    const { context } = errorOf(503, 'SlowDown', { headers: { 'retry-after': '7' } });
    expect(context.retryAfterMs).toBe(7_000);
    expect(errorOf(503, '', { headers: { 'retry-after': '1' } }).kind).toBe('rate-limited');
  });

  test('a bucket of another region is told with the region, and one behind another address with the address', () => {
    const error = errorOf(301, 'PermanentRedirect', {
      headers: { 'x-amz-bucket-region': 'us-west-2' },
      inner: '<Endpoint>acme.s3-us-west-2.amazonaws.com</Endpoint>',
    });
    expect(error.kind).toBe('invalid');
    expect(error.message).toContain(
      'in the region us-west-2, not eu-central-1, behind acme.s3-us-west-2.amazonaws.com',
    );
    expect(error.context.advice).toContain('region or endpoint');
    expect(errorOf(301, '', { headers: { 'x-amz-bucket-region': 'us-west-2' } }).message).toContain('us-west-2');
    const malformed = errorOf(400, 'AuthorizationHeaderMalformed', { inner: '<Region>us-west-2</Region>' });
    expect(malformed.message).toContain('us-west-2');
  });

  test('clocks that are apart are told with the seconds', () => {
    const answer = { status: 403, headers: { date: 'Thu, 01 Jan 2026 00:00:00 GMT' }, bytes: 0 };
    const text = '<Error><Code>RequestTimeTooSkewed</Code></Error>';
    const now = new Date('2026-01-01T00:20:00Z');
    expect(answerError({ ...answer, text }, asked, now).message).toContain('1200 s apart (ours is ahead)');
  });

  test("the server's words are quoted without secrets, line breaks and excess", () => {
    const inner = `<Message>CANARY says\n &lt;no&gt; ${'x'.repeat(1_000)}</Message>`;
    const { message } = errorOf(400, 'SomethingNew', { inner });
    expect(message).toContain('the server says: *** says <no> xxx');
    expect(message.length).toBeLessThan(400);
  });
});

describe('XML', () => {
  test('entities are read, by name and by number, as often as they come', () => {
    const parts = Array.from({ length: 2_000 }, () => '<Part><ETag>&quot;a&#34;&#x22;&amp;lt;</ETag></Part>').join('');
    const listed = listOf(readXml(`<R>${parts}</R>`, 'R'), 'Part');
    expect(listed).toHaveLength(2_000);
    expect(textOf(listed[0]!, 'ETag')).toBe('"a""&lt;');
  });
  test('one element of a list is a list, spaces stay, and numbers stay texts', () => {
    const result = readXml('<R><Contents><Key> 007 </Key></Contents></R>', 'R');
    expect(listOf(result, 'Contents').map((element) => textOf(element, 'Key'))).toEqual([' 007 ']);
    expect(listOf(result, 'CommonPrefixes')).toEqual([]);
    expect(readXml('<R/>', 'R')).toEqual({});
  });
  test('an entity of the document itself is not expanded', () => {
    const bomb = '<!DOCTYPE R [<!ENTITY a "xxxxxxxx"><!ENTITY b "&a;&a;&a;">]><R><Key>&b;</Key></R>';
    expect(textOf(readXml(bomb, 'R'), 'Key')).toBe('&b;');
  });
  test('what is not the wanted document is a breach of protocol', () => {
    for (const text of ['', 'no', '<html><body>hello</body></html>', '<R><', '{"R":1}'])
      expect(() => readXml(text, 'R')).toThrow(/no R document/);
    expect(readError('<html></html>')).toBeUndefined();
  });
  test('what is written is escaped', () => {
    expect(writeXml('Part', { ETag: '"a"&<b>' })).toBe('<Part><ETag>&quot;a&quot;&amp;&lt;b&gt;</ETag></Part>');
  });
});

describe('keys and paths', () => {
  test('a path is a key below the prefix, and back', () => {
    for (const path of ['/a.csv', '/a/b/c d.csv', '/世界 + % ? #.csv'])
      expect(pathOfKey('in/', fileKey('in/', path))).toBe(path);
    expect(folderKey('in/', '/')).toBe('in/');
    expect(folderKey('', '/')).toBe('');
    expect(folderKey('in/', '/a')).toBe('in/a/');
    expect(folderKey('in/', '/a/')).toBe('in/a/');
  });
  test('no path leaves the prefix, and a folder is no file', () => {
    for (const path of ['/../x', '/a/../../x', '/./x', '..', '/a\u0000b']) {
      expect(() => fileKey('in/', path)).toThrow();
      expect(() => folderKey('in/', path)).toThrow();
    }
    expect(() => fileKey('in/', '/a/')).toThrow(/is a folder/);
  });
  test('keys that no path can name are known', () => {
    for (const key of ['in/a//b', 'in//a', 'in/../b', 'in/./b', 'in/a\nb'])
      expect(pathOfKey('in/', key)).toBeUndefined();
  });
  test('listed keys are decoded, with a plus for a space', () => {
    expect(decodeListed('a+b%2Bc%2F%E4%B8%96')).toBe('a b+c/世');
    expect(() => decodeListed('%zz')).toThrow(/not encoded/);
  });
});
