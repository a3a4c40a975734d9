/**
 * Which environment variables a caller who is no owner may set. Some are never allowed, whatever a rule says: programs
 * and interpreters take code, options or other files from them before they look at their arguments. Sources: sudo's
 * initial tables (env.c), ld.so(8), bash(1), setpriv(1).
 */
import { describe, matches, quoted, type Word } from './patterns.js';
import type { Variable } from './rules.js';

export const VARIABLE = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** A terminal's name, in TERM or with a terminal. */
export const TERMINAL = /^[A-Za-z0-9._+-]{1,64}$/;

/** A time zone's name or rule, but no file of the caller's choice. */
const TIME_ZONE = /^[A-Za-z][\w+,./:-]{0,63}$/;

/** Says why not. */
type Why = () => string;

/** Beginnings of names that are never allowed. */
const NEVER =
  /^(?:LD_|DYLD_|_RLD|NODE_|PYTHON|PERL|RUBY|GIT_|BASH_FUNC_|MALLOC_|KRB5|TERMINFO|SENDALL_|GLIBC_|XDG_|NPM_CONFIG_|npm_config_|PIP_|DOTNET_|LESSKEY)/;
/** Names that are never allowed. */
const neverThese = new Set(
  (
    'PATH IFS ENV BASH_ENV BASHOPTS SHELLOPTS PS4 PROMPT_COMMAND CDPATH GLOBIGNORE FPATH ZDOTDIR NULLCMD READNULLCMD ' +
    'TMPPREFIX TMPDIR HOME USER LOGNAME SHELL PWD OLDPWD GCONV_PATH LOCPATH NLSPATH PATH_LOCALE SHLIB_PATH LIBPATH ' +
    'AUTHSTATE LOCALDOMAIN RES_OPTIONS RESOLV_HOST_CONF HOSTALIASES NIS_PATH GETCONF_DIR TZDIR TERMCAP TERMPATH ' +
    'JAVA_TOOL_OPTIONS JDK_JAVA_OPTIONS _JAVA_OPTIONS CLASSPATH GEM_HOME GEM_PATH BUNDLE_GEMFILE LUA_INIT LUA_PATH ' +
    'LUA_CPATH PHPRC PHP_INI_SCAN_DIR R_PROFILE TCLLIBPATH GUILE_LOAD_PATH AWKPATH AWKLIBPATH GCC_EXEC_PREFIX ' +
    'COMPILER_PATH EDITOR VISUAL SUDO_EDITOR SYSTEMD_EDITOR VIMINIT EXINIT INPUTRC PAGER SYSTEMD_PAGER MANPAGER MANOPT ' +
    'MANROFFOPT LESSOPEN LESSCLOSE LESS BROWSER SSH_ASKPASS SUDO_ASKPASS RSYNC_RSH CVS_RSH MAKEFLAGS WGETRC CURL_HOME ' +
    'GNUPGHOME PSQLRC PGSERVICEFILE MYSQL_HOME RIPGREP_CONFIG_PATH SSLKEYLOGFILE OPENSSL_CONF OPENSSL_ENGINES ' +
    'OPENSSL_MODULES GTK_PATH QT_PLUGIN_PATH'
  ).split(' '),
);
/** Variables whose values libraries use in paths. Source: sudoers(5), env_check. */
const LANGUAGES = /^(?:LANG|LANGUAGE|LINGUAS|LC_[A-Z_]+|COLORTERM)$/;

/** Whether there are values that a variable of this name may not have, whatever a rule says. */
const isChecked = (name: Word): boolean => name === 'TERM' || name === 'TZ' || LANGUAGES.test(name);

/** Whether no rule can allow a variable of this name. */
export const isNeverAllowed = (name: Word): boolean => NEVER.test(name) || neverThese.has(name);

/** Why a caller may not set a variable; undefined: it may. `value` undefined: it is a secret. */
export function whyNotSet(allowed: readonly Variable[], name: Word, value: Word | undefined): Why | undefined {
  if (!VARIABLE.test(name)) return () => `${quoted(name)} cannot name a variable`;
  if (isNeverAllowed(name)) return () => `the variable ${name} is never allowed`;
  const variables = allowed.filter((each) => (each.open ? name.startsWith(each.name) : name === each.name));
  const [first] = variables;
  if (!first) return () => `the variable ${name} is not allowed`;
  if (value === undefined)
    return variables.some((each) => !each.value) && !isChecked(name)
      ? undefined
      : () => `the variable ${name} may have certain values only, and a secret's is not known`;
  if (!variables.some((each) => !each.value || matches(each.value, value)))
    return () => `the variable ${name} is ${quoted(value)}, not ${describe(first.value!)}`;
  // Source: the "Shellshock" bugs of bash, which made functions of such values.
  if (value.startsWith('()')) return () => `the variable ${name} has the form of a function`;
  if (name === 'TERM' && !TERMINAL.test(value))
    return () => `the variable TERM is ${quoted(value)}, no terminal's name`;
  if (LANGUAGES.test(name) && /[/%]/.test(value))
    return () => `the variable ${name} is ${quoted(value)}: it may hold no / and %`;
  if (name === 'TZ' && (!TIME_ZONE.test(value) || value.includes('..')))
    return () => `the variable TZ is ${quoted(value)}, no time zone`;
  return undefined;
}
