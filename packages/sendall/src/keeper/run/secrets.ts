/** A run's secrets: names from its spec, values from OPEN. They are in memory alone, until the command has them. */
import type { MessageNamed, Spec } from '../../protocol/messages.js';
import { variableOf } from '../../protocol/secrets.js';
import type { KeeperLimits } from '../door/limits.js';
import { FIRST_AFTER_STANDARD, type Native } from '../system/native.js';
import { StartFailure } from '../system/program.js';

const NUL = 0;
/** Of "()" the first; the other one is next to it. */
const PARENTHESIS = 0x28;

export type Secrets = readonly { readonly name: string; readonly as: string; readonly value: Uint8Array }[];
type Values = MessageNamed<'OPEN'>['secrets'];

/**
 * Brings names and values together; copies the values. `granted`: the caller is no owner, so its policy could not look at
 * the values.
 * @throws StartFailure which names the secret, and never shows a value.
 */
export function takeSecrets(
  { secrets }: Spec,
  values: Values,
  limits: KeeperLimits,
  { granted }: { granted: boolean },
): Secrets {
  if (secrets.length === 0 && values.length === 0) return [];
  const { maxSecrets, secretMax, secretsMax } = limits;
  if (secrets.length > maxSecrets || values.length > maxSecrets)
    throw new StartFailure('limits', `a run takes ${maxSecrets} secrets here (maxSecrets)`);
  const given = new Map(values.map(({ name, value }) => [name, value]));
  const all = secrets.map(({ name, as }) => {
    const value = given.get(name);
    if (!value)
      throw new StartFailure(
        'badspec',
        `the secret ${name} has come without its value, which is kept nowhere: send it again`,
      );
    if (value.length > secretMax)
      throw new StartFailure(
        'limits',
        `the secret ${name} has ${value.length} bytes; ${secretMax} are taken here (secretMax)`,
      );
    if (as === 'env' && value.includes(NUL))
      throw new StartFailure('badspec', `the secret ${name} holds a NUL byte, which no variable can have`);
    // Source: the "Shellshock" bugs of bash, which made functions of such values.
    if (granted && as === 'env' && value[0] === PARENTHESIS && value[1] === PARENTHESIS + 1)
      throw new StartFailure(
        'policy',
        `the secret ${name} has the form of a function, which no variable may have here`,
      );
    return { name, as, value: Uint8Array.from(value) };
  });
  if (given.size !== secrets.length || values.length !== secrets.length)
    throw new StartFailure('badspec', 'values of secrets have come that the command does not name');
  if (bytesOf(all) > secretsMax)
    throw new StartFailure(
      'limits',
      `the secrets have ${bytesOf(all)} bytes together; ${secretsMax} are taken here (secretsMax)`,
    );
  return all;
}

export const bytesOf = (secrets: Secrets): number => secrets.reduce((sum, { value }) => sum + value.length, 0);

/** The variables by which a command finds its secrets. Descriptors are numbered in the order of the secrets. */
export function secretVariables(secrets: Secrets): Uint8Array[] {
  let next = FIRST_AFTER_STANDARD;
  return secrets.map((secret) =>
    Buffer.concat([
      Buffer.from(`${variableOf(secret)}=`),
      secret.as === 'env' ? secret.value : Buffer.from(`${next++}`),
    ]),
  );
}

/** Opens the secrets that a command gets in descriptors, each by itself with `opened`: a later one may fail. */
export function openSecrets(native: Native, secrets: Secrets, opened: (fd: number) => void): void {
  for (const { as, value } of secrets) if (as === 'fd') opened(native.sealed(value));
}
