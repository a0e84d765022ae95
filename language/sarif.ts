import type { Diagnostic } from '../schema/diagnostics.ts';
import { type DiagnosticCode, diagnosticCodes, docsUrlOf } from './codes.ts';

/** Where the format is defined; GitHub, GitLab and most editors read it. */
const schemaUri = 'https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json';

/** The mistakes as a SARIF 2.1.0 log of one run, with a rule for each code that occurs. One JSON text. */
export function formatSarif(diagnostics: readonly Diagnostic[], toolVersion: string): string {
  const codes = [...new Set(diagnostics.map(({ code }) => code))].sort() as DiagnosticCode[];
  return JSON.stringify({
    $schema: schemaUri,
    version: '2.1.0',
    runs: [
      {
        tool: { driver: { name: 'waybill', version: toolVersion, rules: codes.map(ruleOf) } },
        columnKind: 'utf16CodeUnits',
        invocations: [{ executionSuccessful: true }],
        results: diagnostics.map((diagnostic) => resultOf(diagnostic, codes)),
      },
    ],
  });
}

function ruleOf(code: DiagnosticCode) {
  const [severity, summary, advice] = diagnosticCodes[code];
  return {
    id: code,
    shortDescription: { text: summary },
    help: { text: `${advice} See ${docsUrlOf(code)}.` },
    defaultConfiguration: { level: severity },
  };
}

function resultOf(diagnostic: Diagnostic, codes: readonly string[]) {
  const { code, severity, message, suggestion, file, line, column, endLine, endColumn } = diagnostic;
  return {
    ruleId: code,
    ruleIndex: codes.indexOf(code),
    level: severity,
    message: { text: suggestion === null ? message : `${message}; ${suggestion}` },
    locations: [
      {
        physicalLocation: {
          artifactLocation: { uri: uriOf(file) },
          region: { startLine: line, startColumn: column, endLine, endColumn },
        },
      },
    ],
  };
}

/** A relative path stays relative, so that it is found below the root of a repository, wherever that is. */
function uriOf(file: string): string {
  const path = file
    .replaceAll('\\', '/')
    .replace(/^(\.\/)+/, '')
    .split('/')
    .map(encodeURIComponent)
    .join('/');
  return path.startsWith('/') ? `file://${path}` : path;
}
