/** What one request may ask for. Each refusal names its limit. */
export const limits = {
  /** Bytes of a request body. */
  bodyBytes: 2 * 1024 * 1024,
  /** Payloads that are decoded at a time for Temporal's UI. */
  codecPayloads: 10_000,
  /** Milliseconds to receive a request, headers and body. */
  receiveTimeoutMs: 30_000,
  /** Failed authentications of one address in a window; what fails beyond them is answered 429. */
  failedAuthentications: 30,
  failedAuthenticationWindowSeconds: 60,
  /** Bytes of a request without a credential, which can only sign in. */
  visitorBodyBytes: 64 * 1024,
  /** Sign-ins by one method, of one address and of one user of a site, in a window: all of them, and those that failed. */
  signIns: 1_000,
  failedSignIns: 20,
  signInWindowSeconds: 60,
  /** Characters of what a client says of itself when it signs in. */
  clientVersionLength: 100,
  userStringLength: 255,
  /** Characters of a user name that an event of a refused sign-in keeps. */
  deniedNameLength: 100,
  /** Nesting of fields. */
  depth: 15,
  aliases: 30,
  directives: 30,
  /** Lexical tokens of a document. */
  tokens: 2_000,
  /** Cost of an operation, as `extensions.cost` counts it. */
  cost: 10_000,
  /** What a connection costs besides its rows: one read of the database. */
  connectionCost: 10,
  pageDefault: 20,
  pageMost: 100,
  /** Characters of a cursor. */
  cursorLength: 512,
  /** Reads of the database that one request has under way together. */
  readsTogether: 4,
  /** Subscriptions of one API key that are open together, per process. */
  subscriptionsPerKey: 20,
  /** Milliseconds between two looks at a run that is watched. */
  watchIntervalMs: 500,
  /** Milliseconds after which a watcher's key or session is verified again. */
  watchAuthorisedMs: 5_000,
  /** Milliseconds that a watcher waits for a database that is away. */
  watchPatienceMs: 60_000,
  /** Rows looked at for one page of a search by glob; the page says whether there are more. */
  globRows: 50_000,
  /** Rows read together in a search by glob. */
  globBatch: 5_000,
  /** Bytes of a run's inputs as JSON. */
  inputsBytes: 256 * 1024,
  idempotencyKeyLength: 200,
  /** Deliveries that one retry of failed files takes. */
  retryDeliveries: 50_000,
  documents: 1_000,
  secretBytes: 64 * 1024,
  reasonLength: 1_000,
  /** Milliseconds that Temporal has to take a request. */
  temporalTimeoutMs: 5_000,
  /** Milliseconds that the check of an endpoint may take. */
  checkTimeoutMs: 15_000,
  /** Checks of one endpoint that are kept. */
  checksKept: 100,
  /** Milliseconds that the sweep of one folder may take. */
  sweepTimeoutMs: 60_000,
  /** Milliseconds that an unfinished write is left alone by a sweep. */
  sweepLeastAgeMs: 3_600_000,
  /** Milliseconds that a probe of /ready may take, and for which its answer is given again. */
  readyTimeoutMs: 2_000,
  readyRememberedMs: 1_000,
} as const;
