/** Wildcards in host names: `*` matches any characters or none, `?` matches one. */

/** Tells whether the mask matches the whole name, in time of at most the product of both lengths. */
export function matches(mask: string, name: string): boolean {
  let [m, n] = [0, 0];
  // The last star, and the end of its match: if the rest fails, the star takes one more character.
  let [star, reach] = [-1, 0];
  while (n < name.length) {
    if (mask[m] === '*') [star, reach] = [m++, n];
    else if (m < mask.length && (mask[m] === '?' || mask[m] === name[n])) [m, n] = [m + 1, n + 1];
    else if (star >= 0) [m, n] = [star + 1, ++reach];
    else return false;
  }
  while (mask[m] === '*') m++;
  return m === mask.length;
}
