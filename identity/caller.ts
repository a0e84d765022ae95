/** Who asks, as proven by a credential. Only what verifies one makes it: identity/apiKeys.ts and identity/sessions/. */
export interface Caller {
  tenantId: string;
  tenantName: string;
  principalId: string;
  principalName: string;
  role: string;
  scopes: string[];
  /** Networks that the credential may come from; empty: from anywhere. */
  allowedCidrs: string[];
  credential: KeyCredential | SessionCredential;
}

export interface KeyCredential {
  kind: 'key';
  id: string;
}

export interface SessionCredential {
  kind: 'session';
  id: string;
  applicationId: number;
  expiresAt: Date;
  /** The principal who acts as the caller's, or null. */
  impersonatorId: string | null;
}

/** What a request says of itself before anything of it is proven. No code takes it for a `Caller`. */
export interface Visitor {
  /** The tenant whose address was asked, by host name or `/t/<site>/`; null when there is none of that address. */
  tenantId: string | null;
  /** Of the connection's other end; a socket that is gone has none. */
  address: string | undefined;
}
