/**
 * Collects what callers want written while the previous transaction is under way, and writes it in the next one: many
 * small files share a round trip, and a lone large one does not wait.
 */
export function createGroupCommit<Item, Answer>(
  commit: (items: readonly Item[]) => Promise<readonly Answer[]>,
  maxItems: number,
): (item: Item) => Promise<Answer> {
  interface Waiting {
    item: Item;
    resolve(answer: Answer): void;
    reject(error: unknown): void;
  }
  let waiting: Waiting[] = [];
  let writing = false;

  async function write() {
    writing = true;
    // Callers that become ready in the same turn of the event loop belong into the same transaction.
    await new Promise((resolve) => setImmediate(resolve));
    while (waiting.length > 0) {
      const group = waiting.slice(0, maxItems);
      waiting = waiting.slice(maxItems);
      try {
        const answers = await commit(group.map(({ item }) => item));
        for (const [index, entry] of group.entries()) entry.resolve(answers[index]!);
      } catch (error) {
        for (const entry of group) entry.reject(error);
      }
    }
    writing = false;
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject });
      if (!writing) void write();
    });
}
