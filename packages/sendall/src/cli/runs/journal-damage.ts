/** How `agent`, `agent status` and `doctor` report damage to a host's run journal or log. */

/** The damage and what to do about it; undefined when nothing is set aside. */
export function journalDamage(setAside: readonly string[] = []): { found: string; mend: string } | undefined {
  const [latest] = setAside.slice(-1);
  if (latest === undefined) return undefined;
  const more = setAside.length > 1 ? ` and ${setAside.length - 1} more beside it` : '';
  return {
    found: `the run journal was damaged, or the log: some runs may be unknown, and the log was begun anew; the damaged files and output without a run are kept in ${latest}${more}`,
    mend: 'check that disk, take what you need from there, and remove it to end this notice',
  };
}
