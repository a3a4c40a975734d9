/** Where a file of a transfer is on this host, for the log: events name it as the source does. */

const SLASH = 0x2f;

/** A file that `put DST` has placed. `into`: it lies in DST, which is not its source's name then. */
export function placedPath(destination: Buffer, into: boolean, path: Buffer): Buffer {
  if (into) return join(destination, path);
  const below = path.indexOf(SLASH);
  return below < 0 ? destination : join(destination, path.subarray(below + 1));
}

/** A file that `get SRC…` has sent: below the first operand whose last part is the beginning of its name. */
export function sentPath(sources: readonly Buffer[], path: Buffer): Buffer {
  const end = path.indexOf(SLASH);
  const first = end < 0 ? path : path.subarray(0, end);
  const source = sources.map(withoutSlashes).find((each) => each.subarray(each.lastIndexOf(SLASH) + 1).equals(first));
  // Of ".", ".." and "/" the names below are sent.
  if (!source) return path;
  return end < 0 ? source : join(source, path.subarray(end + 1));
}

function withoutSlashes(path: Buffer): Buffer {
  let { length } = path;
  while (length > 1 && path[length - 1] === SLASH) length--;
  return path.subarray(0, length);
}

const join = (folder: Buffer, path: Buffer): Buffer =>
  Buffer.concat([folder, ...(folder.at(-1) === SLASH ? [] : [Buffer.from('/')]), path]);
