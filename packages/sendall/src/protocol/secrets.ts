/** The names of a run's secrets: which are allowed, and the variables by which a command finds the values. */
import type { Spec } from './messages.js';

/** How a command gets a secret: a descriptor whose number is in NAME_FD, or the variable NAME. */
export const SECRET_WAYS = ['fd', 'env'] as const;

const NAME = /^[A-Za-z_][A-Za-z0-9_]{0,99}$/;
/** What a name is made of, for messages. */
export const SECRET_NAME = 'letters, digits and "_", up to 100, and not a digit first';
/**
 * Variables that the host sets, or by which a loader, the C library or a shell finds code and commands. Source: ld.so(8),
 * secure-execution mode; POSIX sh, BASH(1).
 */
const RESERVED =
  /^(?:LD_\w*|GLIBC_TUNABLES|GCONV_PATH|LOCPATH|NLSPATH|MALLOC_\w*|BASH_ENV|ENV|IFS|PATH|CDPATH|SHELLOPTS|BASHOPTS|PS4|HOME|USER|LOGNAME|SHELL|LANG|TERM|SENDALL_\w*)$/;

/** Whether a secret may have this name, but for reserved ones. */
export const isSecretName = (name: string): boolean => NAME.test(name);

/** The variable that tells a command of a secret. */
export const variableOf = ({ name, as }: Spec['secrets'][number]): string => (as === 'env' ? name : `${name}_FD`);

/**
 * Why a command cannot be given these secrets; undefined when it can. A wrong name is not shown: it may be a value in the
 * wrong place.
 */
export function wrongSecrets({ secrets, env }: Pick<Spec, 'secrets' | 'env'>): string | undefined {
  if (secrets.length === 0) return undefined;
  const given = new Set(env.map((pair) => Buffer.from(pair.subarray(0, pair.indexOf(0x3d))).toString('latin1')));
  const variables = new Set<string>();
  for (const [i, secret] of secrets.entries()) {
    const { name, as } = secret;
    if (!isSecretName(name)) return `the name of secret ${i + 1} is not allowed: ${SECRET_NAME}`;
    if (RESERVED.test(name)) return `${name} cannot be the name of a secret: programs and the host itself use it`;
    if (!(SECRET_WAYS as readonly string[]).includes(as))
      return `the secret ${name} can be given as ${SECRET_WAYS.join(' or ')} only`;
    const variable = variableOf(secret);
    if (given.has(variable)) return `the secret ${name} and the environment both set the variable ${variable}`;
    if (variables.has(variable)) return `two secrets set the variable ${variable}`;
    variables.add(variable);
  }
  return undefined;
}
