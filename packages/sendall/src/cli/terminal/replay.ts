/**
 * Redraws a terminal's earlier output, without its questions. A program's questions to its terminal were answered then;
 * new answers of ours would be typed into the program that runs now. Source: xterm control sequences.
 */
import type { Run } from '../../index.js';
import { ScreenModes } from '../../internal.js';

/** A control string: its text contains neither questions nor bells. */
// eslint-disable-next-line no-control-regex
const STRING = /\u001b[\]P_^X][^\u0007\u001b]*(?:\u0007|\u001b\\)/;
/** A control string that asks: for a colour, the clipboard, a setting, a capability. */
// eslint-disable-next-line no-control-regex
const QUESTION = /^\u001b(?:\](?:[\d;]*;|52;[^;]*;)\?|P[$+]q)/;
/**
 * Control strings, and sequences that ask for attributes, position, version, keyboard, modes, parameters, the window,
 * or ring the bell.
 */
const ASKED = new RegExp(
  [
    STRING.source,
    '\\u001b\\[[?>=]?[\\d;]*c',
    '\\u001b\\[\\??[\\d;]*n',
    '\\u001b\\[>\\d*q',
    '\\u001b\\[\\?u',
    '\\u001b\\[\\??\\d*\\$p',
    '\\u001b\\[\\d*x',
    '\\u001b\\[(?:1[13-689]|2[01])(?:;\\d*)*t',
    '\\u001bZ',
    '[\\u0005\\u0007]',
  ].join('|'),
  'g',
);
/** The beginning of a sequence that continues in the next piece. */
// eslint-disable-next-line no-control-regex
const UNFINISHED = /\u001b(?:\[[\d;?>=]*\$?|[\]P_^X][^\u0007\u001b]*\u001b?)?$/;
/** Longer strings (pictures) are passed on in pieces. */
const LONGEST = 8192;
/** Switches to the other screen, or back from it. */
// eslint-disable-next-line no-control-regex
const SWITCH = /\u001b\[\?(?:[\d;]*;)?(?:47|1047|1049)(?:;[\d;]*)?([hl])/;
/** Characters of a tail that are held until its screen is known. */
const LONGEST_OPENING = 1024 * 1024;
/** Longest line we look for in output that has lines. */
const LONGEST_LINE = 4096;

export class Replay {
  readonly #run: Pick<Run, 'past'>;
  readonly #modes: ScreenModes;
  #over = false;
  #rest = '';
  /** The first output of a replay that begins later than the first byte, until its screen is known. */
  #opening: string | undefined;

  /** `modes` follows the drawn output. */
  constructor(run: Pick<Run, 'past'>, modes: ScreenModes) {
    this.#run = run;
    this.#modes = modes;
  }

  /** What to draw first, once the run is found. */
  begin(): string {
    return (this.#run.past?.start ?? 0) < this.#end ? '' : this.#finish();
  }

  /** What to draw of a piece at `offset`. */
  draw(bytes: Buffer, offset: number): Buffer {
    const past = this.#over ? 0 : Math.min(this.#end - offset, bytes.length);
    if (past <= 0) {
      this.#modes.watch(bytes);
      return bytes;
    }
    let text = this.#rest + bytes.toString('latin1', 0, past);
    this.#rest = '';
    const isLast = offset + past >= this.#end;
    if (offset === this.#run.past?.start && offset > 0) this.#opening = '';
    if (this.#opening !== undefined) {
      this.#opening += text;
      const opening = this.#open(isLast);
      if (opening === undefined) return Buffer.alloc(0);
      text = opening;
      this.#opening = undefined;
    }
    const open = isLast ? null : UNFINISHED.exec(text);
    if (open && text.length - open.index < LONGEST) {
      this.#rest = open[0];
      text = text.slice(0, open.index);
    }
    const drawn = Buffer.from(
      text.replace(ASKED, (found) => (STRING.test(found) && !QUESTION.test(found) ? found : '')),
      'latin1',
    );
    this.#modes.watch(drawn);
    if (!isLast) return drawn;
    const present = bytes.subarray(past);
    const modes = Buffer.from(this.#finish());
    this.#modes.watch(present);
    return Buffer.concat([drawn, modes, present]);
  }

  /** What to draw of the beginning of a tail; undefined while its screen is unknown. */
  #open(isAll: boolean): string | undefined {
    const text = this.#opening!;
    const change = SWITCH.exec(text);
    if (!change && !isAll && text.length < LONGEST_OPENING) return undefined;
    // It was drawn on the other screen, which the program has left since.
    if (change?.[1] === 'l') return text.slice(change.index + change[0].length);
    const modes = change ? '' : this.#otherScreen();
    // A replay that begins inside a line, a character or a sequence skips to the next line.
    const line = text.slice(0, LONGEST_LINE).indexOf('\n') + 1;
    const sequence = text.indexOf('\u001b');
    return modes + text.slice((!modes && line) || (sequence < 0 ? line : sequence));
  }

  /** The sequence that switches to the other screen, if all output was drawn there; else empty. */
  #otherScreen(): string {
    const present = this.#present;
    return present.isOtherScreen ? this.#modes.towards(present) : '';
  }

  /** The modes currently set by the program. */
  get #present(): ScreenModes {
    const present = new ScreenModes();
    present.watch(Buffer.from(this.#run.past?.screen ?? ''));
    return present;
  }

  get #end(): number {
    return this.#run.past?.end ?? 0;
  }

  /** Ends the replay. A terminal that did not see the beginning lacks modes that the program has set. */
  #finish(): string {
    this.#over = true;
    const change = this.#modes.towards(this.#present);
    this.#modes.watch(Buffer.from(change));
    return change;
  }
}
