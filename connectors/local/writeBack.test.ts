import { expect, test } from 'vitest';
import { WriteBack } from './writeBack.ts';

const muchBytes = 32 * 1024 * 1024;

test('a small file is synced once, at its end', async () => {
  const { disk, writeBack } = someDisk();
  writeBack.wrote(10_240);
  expect(disk.asked).toHaveLength(0);
  const finished = writeBack.finish();
  await expect.poll(() => disk.asked.length).toBe(1);
  await disk.answer(0);
  await finished;
  expect(disk.asked).toHaveLength(1);
});

test('the disk takes a large file while it is written, one part at a time, and the rest at its end', async () => {
  const { disk, writeBack } = someDisk();
  writeBack.wrote(muchBytes);
  writeBack.wrote(muchBytes);
  expect(disk.asked).toHaveLength(1);
  await disk.answer(0);
  writeBack.wrote(1);
  expect(disk.asked).toHaveLength(2);
  let isFinished = false;
  const finished = writeBack.finish().then(() => {
    isFinished = true;
  });
  await disk.answer(1);
  expect([disk.asked.length, isFinished]).toEqual([3, false]);
  await disk.answer(2);
  await finished;
});

test.each(['writing goes on', 'the end'])('what a disk has lost early is not forgotten when %s', async (when) => {
  const { disk, writeBack } = someDisk();
  writeBack.wrote(muchBytes);
  await disk.answer(0, new Error('EIO'));
  if (when === 'the end') await expect(writeBack.finish()).rejects.toThrow('EIO');
  else expect(() => writeBack.wrote(1)).toThrow('EIO');
  expect(disk.asked).toHaveLength(1);
});

/** A disk that answers when it is told to. */
function someDisk() {
  const asked: Array<PromiseWithResolvers<void>> = [];
  const writeBack = new WriteBack(() => {
    const answer = Promise.withResolvers<void>();
    asked.push(answer);
    return answer.promise;
  });
  return {
    writeBack,
    disk: {
      asked,
      async answer(index: number, error?: Error): Promise<void> {
        if (error === undefined) asked[index]!.resolve();
        else asked[index]!.reject(error);
        // Whoever waits for it has heard of it when all that is ready has been done.
        await new Promise(setImmediate);
      },
    },
  };
}
