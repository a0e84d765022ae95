interface LockedPackage {
  version?: string;
  dev?: boolean;
  optional?: boolean;
  os?: string[];
  cpu?: string[];
  optionalDependencies?: Record<string, string>;
}

const platformBuild =
  /-(android|darwin|freebsd|linux|openharmony|win32)-(arm64|arm|ia32|ppc64|riscv64|s390x|x64)(?:-(?:eabi|gnu|gnueabihf|msvc|musl|musleabihf))?$/;

/**
 * package-lock.json with an entry for every platform's build of a native package. npm leaves out the builds that its
 * registry does not carry, and then `npm ci` refuses the file on every machine, also on those that need none of them.
 * An entry added here names version and platform; npm skips it elsewhere.
 */
export function completeLock(text: string): string {
  const lock = JSON.parse(text) as { packages: Record<string, LockedPackage> };
  const present = new Set(Object.keys(lock.packages).map((path) => path.slice(path.lastIndexOf('node_modules/'))));
  const added: Record<string, LockedPackage> = {};
  for (const parent of Object.values(lock.packages)) {
    for (const [name, version] of Object.entries(parent.optionalDependencies ?? {})) {
      const [, os, cpu] = platformBuild.exec(name) ?? [];
      if (os === undefined || cpu === undefined || present.has(`node_modules/${name}`)) continue;
      const dev = parent.dev === true ? { dev: true } : {};
      added[`node_modules/${name}`] = { version, cpu: [cpu], ...dev, optional: true, os: [os] };
    }
  }
  const packages = Object.entries({ ...lock.packages, ...added }).sort(([a], [b]) => (a < b ? -1 : 1));
  return `${JSON.stringify({ ...lock, packages: Object.fromEntries(packages) }, null, 2)}\n`;
}
