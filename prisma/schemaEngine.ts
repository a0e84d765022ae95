import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import path from 'node:path';
import { PrismaPg } from '@prisma/adapter-pg';
import { bindMigrationAwareSqlAdapterFactory, type SqlDriverAdapter } from '@prisma/driver-adapter-utils';
import type {
  ApplyMigrationsInput,
  DiagnoseMigrationHistoryInput,
  DiagnoseMigrationHistoryOutput,
  DiffParams,
  SchemaEngine,
} from '@prisma/schema-engine-wasm';
import { WaybillError } from '../schema/errors.ts';

export interface MigrationEngine {
  diagnose(input: DiagnoseMigrationHistoryInput): Promise<DiagnoseMigrationHistoryOutput>;
  /** Gives the names of the migrations that were applied now. */
  apply(input: ApplyMigrationsInput): Promise<string[]>;
  /** The SQL that leads from one schema to another. */
  diff(input: Pick<DiffParams, 'from' | 'to'>): Promise<string>;
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
  return {
    diagnose: (input) => named(engine.diagnoseMigrationHistory(input)),
    apply: async (input) => (await named(engine.applyMigrations(input))).appliedMigrationNames,
    diff: async ({ from, to }) => {
      const filters = { externalTables: [], externalEnums: [] };
      return (await named(engine.diff({ from, to, filters, script: true, exitCode: null }))).stdout ?? '';
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

  override async connect() {
    const adapter = await super.connect();
    this.#opened.push(adapter);
    adapter.executeScript = async (script) => {
      await adapter.underlyingDriver().query(script);
    };
    return adapter;
  }

  async dispose(): Promise<void> {
    for (const adapter of this.#opened) await adapter.dispose();
  }
}

/** The package's own entry imports the .wasm as a module, which Node only does behind a flag. */
async function loadEngine(): Promise<typeof import('@prisma/schema-engine-wasm')> {
  const folder = path.dirname(createRequire(import.meta.url).resolve('@prisma/schema-engine-wasm'));
  const bindings = await import('@prisma/schema-engine-wasm/schema_engine_bg');
  const bytes = await readFile(path.join(folder, 'schema_engine_bg.wasm'));
  const { instance } = await WebAssembly.instantiate(bytes, { './schema_engine_bg.js': bindings });
  bindings.__wbg_set_wasm(instance.exports);
  (instance.exports as { __wbindgen_start(): void }).__wbindgen_start();
  return bindings as typeof import('@prisma/schema-engine-wasm');
}

/** The engine rejects with an Error whose message may be JSON, or with a string. */
async function named<Result>(answer: Promise<Result>): Promise<Result> {
  try {
    return await answer;
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new WaybillError('internal', `Prisma's schema engine: ${message}`, { cause });
  }
}
