import { execFile } from 'node:child_process';
import { X509Certificate, createPrivateKey } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { fileURLToPath } from 'node:url';
import { inspect, promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { fingerprintOf, parseFingerprint } from '../../dist/keys/fingerprint.js';
import { loadIdentity } from '../../dist/keys/identity.js';
import { filesOf, newHome } from './support.js';

const run = promisify(execFile);

describe('the identity of a home', () => {
  test('is made once and stays the same', async () => {
    const home = newHome();
    const made = await loadIdentity(home, { create: true });
    const loaded = await loadIdentity(home);
    expect(loaded).toEqual(made);
    expect(loaded.key).toBe(made.key);
    expect(loaded.fingerprint).toMatch(/^SHA256:[\w-]{43}$/);
    expect(loaded.fingerprint).toBe(fingerprintOf(loaded.spki));
    expect(statSync(home.identityFile).mode & 0o777).toBe(0o600);
    expect(filesOf(home)).toEqual(['identity.pem']);
  });

  test('is a P-256 key in a valid, self-signed certificate without an end date', async () => {
    const { cert, key, spki } = await loadIdentity(newHome(), { create: true });
    const certificate = new X509Certificate(cert);
    expect(certificate.subject).toBe('CN=sendall');
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(certificate.checkPrivateKey(createPrivateKey(key))).toBe(true);
    expect(certificate.publicKey.asymmetricKeyDetails?.namedCurve).toBe('prime256v1');
    expect(certificate.publicKey.export({ type: 'spki', format: 'der' })).toEqual(spki);
    expect(certificate.validTo).toBe('Dec 31 23:59:59 9999 GMT');
    expect(certificate.ca).toBe(false);
    expect(certificate.serialNumber).toMatch(/^[4-7][0-9A-F]{31}$/);
  });

  test('is read once while its file stays the same, and again when the file is replaced or open to others', async () => {
    const home = newHome();
    const made = await loadIdentity(home, { create: true });
    const loaded = await loadIdentity(home);
    expect(await loadIdentity(home)).toBe(loaded);
    chmodSync(home.identityFile, 0o644);
    await expect(loadIdentity(home)).rejects.toThrow(/open to other users/);
    rmSync(home.identityFile);
    await expect(loadIdentity(home)).rejects.toThrow(/there is no key in/);
    expect((await loadIdentity(home, { create: true })).fingerprint).not.toBe(made.fingerprint);
  });

  test('is made only on request', async () => {
    const home = newHome();
    await expect(loadIdentity(home)).rejects.toThrow(/there is no key in .*identity\.pem yet/);
    expect(existsSync(home.identityFile)).toBe(false);
  });

  test('is the same for processes that make it concurrently', async () => {
    const home = newHome();
    const program = fileURLToPath(new URL('../dist/make-identity.js', import.meta.url));
    const made = await Promise.all(
      Array.from({ length: 6 }, () => run(process.execPath, [program], { env: { SENDALL_HOME: home.config } })),
    );
    expect(new Set(made.map(({ stdout }) => stdout)).size).toBe(1);
    expect(made[0]!.stdout).toMatch(/^SHA256:/);
    expect(filesOf(home)).toEqual(['identity.pem']);
  });

  test('keeps its private key out of logs', async () => {
    const identity = await loadIdentity(newHome(), { create: true });
    const secret = identity.key.split('\n')[1]!;
    expect(inspect(identity) + JSON.stringify(identity)).not.toContain(secret);
  });
});

describe('an identity file is refused', () => {
  test.each([0o640, 0o604, 0o660, 0o644])('when its mode is %o', async (mode) => {
    const home = newHome();
    await loadIdentity(home, { create: true });
    chmodSync(home.identityFile, mode);
    await expect(loadIdentity(home, { create: true })).rejects.toThrow(/open to other users \(mode 6\d\d\)/);
  });

  test('when it is a symbolic link, which is not followed', async () => {
    const other = newHome();
    await loadIdentity(other, { create: true });
    const home = newHome();
    symlinkSync(other.identityFile, home.identityFile);
    await expect(loadIdentity(home, { create: true })).rejects.toThrow(/is a symbolic link/);
  });

  test('when it is a dangling link, and nothing is written through it', async () => {
    const home = newHome();
    symlinkSync(`${home.config}/elsewhere`, home.identityFile);
    await expect(loadIdentity(home, { create: true })).rejects.toThrow(/is a symbolic link/);
    expect(existsSync(`${home.config}/elsewhere`)).toBe(false);
  });

  test('when it is a folder', async () => {
    const home = newHome();
    mkdirSync(home.identityFile);
    await expect(loadIdentity(home, { create: true })).rejects.toThrow(/is not a plain file/);
  });

  test('when it is a FIFO, without waiting for a writer', async () => {
    const home = newHome();
    await run('mkfifo', ['-m', '600', home.identityFile]);
    await expect(loadIdentity(home, { create: true })).rejects.toThrow(/is not a plain file/);
  });

  test('when it holds garbage, half of itself, or the key of another certificate, and stays as it was', async () => {
    const home = newHome();
    const first = await loadIdentity(home, { create: true });
    const second = await loadIdentity(newHome(), { create: true });
    const whole = readFileSync(home.identityFile, 'utf8');
    for (const text of [
      '',
      'garbage',
      '\0'.repeat(5000),
      whole.slice(0, 300),
      first.cert,
      first.key,
      first.key + second.cert,
    ]) {
      writeFileSync(home.identityFile, text, { mode: 0o600 });
      const error = await loadIdentity(home, { create: true }).catch((e: Error) => e);
      expect(error).toMatchObject({ code: 'USAGE' });
      expect((error as Error).message).toMatch(/does not hold a private key and its certificate: restore it/);
      expect(inspect(error)).not.toContain(first.key.split('\n')[1]);
      expect(readFileSync(home.identityFile, 'utf8')).toBe(text);
    }
  });

  test('when it belongs to another user', async () => {
    const home = newHome();
    await loadIdentity(home, { create: true });
    if (process.getuid?.() === 0) {
      chownSync(home.identityFile, 12345, 12345);
      await expect(loadIdentity(home)).rejects.toThrow(/belongs to user 12345, not to you \(0\)/);
    } else {
      const foreign = { ...home, identityFile: '/etc/passwd' };
      await expect(loadIdentity(foreign)).rejects.toThrow(/belongs to user 0, not to you/);
    }
  });
});

test('a fingerprint given as text is checked', () => {
  const good = `SHA256:${'a'.repeat(42)}_`;
  expect(parseFingerprint(good)).toBe(good);
  for (const bad of ['', 'a'.repeat(43), `SHA256:${'a'.repeat(42)}`, `${good}=`, `MD5:${'a'.repeat(43)}`, `${good}\n`])
    expect(() => parseFingerprint(bad)).toThrow(/is not a fingerprint/);
});
