/** What GraphiQL shows at first: it has no key of its own, so it says where one goes. */
export const graphiqlPage = {
  title: 'Waybill',
  // The key would stay in the browser's storage, for whoever sits there next.
  shouldPersistHeaders: false,
  headers: JSON.stringify({ Authorization: 'Bearer wb_...' }, null, 2),
  defaultQuery: `# This page can do nothing without an API key.
# 1. Put yours below, in the tab "Headers".
# 2. For documentation and completion, click
#    "Re-fetch GraphQL schema" at the lower left.

query LatestRuns {
  runs(first: 10) {
    edges {
      node {
        id
        pipeline
        status
        counts { files bytes skipped failed }
        temporalUrl
      }
    }
  }
}
`,
};

/** The page brings its own script and style, and talks to nobody but this server. */
export const graphiqlPolicy = [
  "default-src 'none'",
  "script-src 'unsafe-inline' blob:",
  "style-src 'unsafe-inline'",
  "img-src data: 'self'",
  'font-src data:',
  'worker-src blob:',
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
].join('; ');
