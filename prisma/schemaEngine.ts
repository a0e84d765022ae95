import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory, type SqlDriverAdapter } from '@prisma/driver-adapter-utils';
import type {
  ApplyMigrationsInput,
  DiagnoseMigrationHistoryInput,
  DiagnoseMigrationHistoryOutput,
  SchemaEngine,
} from '@prisma/schema-engine-wasm';
import { WaybillError } from '../schema/errors.ts';

export interface MigrationEngine {
  diagnose(input: DiagnoseMigrationHistoryInput): Promise<DiagnoseMigrationHistoryOutput>;
  /** Gives the names of the migrations that were applied now. */
  apply(input: ApplyMigrationsInput): Promise<string[]>;
  /** The SQL that leads from one text of schema.prisma, or from nothing, to another. */
  diff(from: string | null, to: string): Promise<string>;
  close(): Promise<void>;
}

const datamodel = 'datasource db {\n  provider = "postgresql"\n}\n';

/**
 * Prisma's schema engine as WebAssembly: the Prisma CLI would download a native one from outside the npm registry, which
 * an air-gapped site cannot. It keeps Prisma's own `_prisma_migrations` table, so a site that has the CLI can use that too.
 */
export async function openSchemaEngine(ownerUrl: string): Promise<MigrationEngine> {
  const adapters = new WholeScripts({ connectionString: ownerUrl, max: 1 });
  const { SchemaEngine } = await loadEngine();
  const engine: SchemaEngine = await SchemaEngine.new(
    { datamodels: [['schema.prisma', datamodel]] },
    () => undefined,
    bindMigrationAwareSqlAdapterFactory(adapters),
  );
  const told = <Result>(answer: Promise<Result>): Promise<Result> => answer.catch((cause) => adapters.explain(cause));
  return {
    diagnose: (input) => told(engine.diagnoseMigrationHistory(input)),
    apply: async (input) => (await told(engine.applyMigrations(input))).appliedMigrationNames,
    diff: async (from, to) => {
      const target = (text: string) => ({
        tag: 'schemaDatamodel' as const,
        files: [{ path: 'schema.prisma', content: text }],
      });
      const filters = { externalTables: [], externalEnums: [] };
      const ends = { from: from === null ? { tag: 'empty' as const } : target(from), to: target(to) };
      return (await told(engine.diff({ ...ends, filters, script: true, exitCode: null }))).stdout ?? '';
    },
    close: async () => {
      engine.free();
      await adapters.dispose();
    },
  };
}

/**
 * The adapter of Prisma cuts a script at every semicolon, also inside a string, a comment or a `do` block, and runs the
 * pieces one by one. As one simple query PostgreSQL parses it itself and runs it in one transaction: all or nothing.
 */
class WholeScripts extends PrismaPg {
  readonly #opened: SqlDriverAdapter[] = [];
  #failure: unknown;

  override async connect() {
    const adapter = this.#whole(await super.connect());
    this.#opened.push(adapter);
    return adapter;
  }

  /** Prisma's own gives the name of a new database beside our connection string, which wins: it would use the real one. */
  override connectToShadowDb(): Promise<never> {
    throw new WaybillError('unsupported', 'no shadow database');
  }

  #whole<Adapter extends Awaited<ReturnType<PrismaPg['connect']>>>(adapter: Adapter): Adapter {
    adapter.executeScript = async (script) => {
      try {
        await adapter.underlyingDriver().query(script);
      } catch (error) {
        this.#failure = error;
        throw error;
      }
    };
    return adapter;
  }

  /** The engine only says "external error" of a script that PostgreSQL refused. */
  explain(cause: unknown): never {
    const reason = this.#failure ?? cause;
    const message = reason instanceof Error ? reason.message : String(reason);
    throw new WaybillError('internal', `Prisma's schema engine: ${message}`, { cause });
  }

  async dispose(): Promise<void> {
    for (const adapter of this.#opened) await adapter.dispose();
  }
}

type Bindings = typeof import('@prisma/schema-engine-wasm');
let loaded: Promise<Bindings> | undefined;

/** Once in a process: the bindings are one module that points at one instance, and a second instance breaks the first. */
function loadEngine(): Promise<Bindings> {
  loaded ??= instantiate();
  return loaded;
}

/** TypeScript declares this global in its DOM library only. */
declare const WebAssembly: {
  instantiate(
    bytes: Uint8Array,
    imports: Record<string, object>,
  ): Promise<{ instance: { exports: { __wbindgen_start(): void } } }>;
};

/** The package's own entry imports the .wasm as a module, which Node only does behind a flag. */
async function instantiate(): Promise<Bindings> {
  const folder = path.dirname(createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm'));
  const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  const bytes = await readFile(path.join(folder, 'schema_engine_bg.wasm'));
  const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': { ...bindings } });
  bindings.__wbg_set_wasm(instance.exports);
  instance.exports.__wbindgen_start();
  return bindings;
}
