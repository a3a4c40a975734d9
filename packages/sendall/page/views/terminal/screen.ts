/**
 * xterm as the page uses it: it draws, and says what its user types. Nothing in the output reaches the page outside of it:
 * titles, links, the clipboard and reports of the window are off, and it is silent until it is told that it may speak.
 */
import { FitAddon } from '@xterm/addon-fit';
import { Terminal, type ITheme } from '@xterm/xterm';
import css from '@xterm/xterm/css/xterm.css';
import { defineStyleElement } from './style-element.js';

let isPrepared = false;

/** Before the first terminal: xterm's own style sheet, and the element for those that it makes. */
function prepare(): void {
  if (isPrepared) return;
  isPrepared = true;
  defineStyleElement();
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(css);
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
}

/** Lines above the screen. */
const SCROLLBACK = 5000;
/** The operating system's commands of a terminal that are not for a page: titles, working folder, links, notices, clipboard. */
const REFUSED_OSC = [0, 1, 2, 7, 8, 9, 52, 99, 133, 633, 777, 1337];
const ANSI = [
  'black',
  'red',
  'green',
  'yellow',
  'blue',
  'magenta',
  'cyan',
  'white',
  'brightBlack',
  'brightRed',
  'brightGreen',
  'brightYellow',
  'brightBlue',
  'brightMagenta',
  'brightCyan',
  'brightWhite',
] as const satisfies readonly (keyof ITheme)[];

export interface ScreenOptions {
  /** What a screen reader calls it. */
  readonly label: string;
  readonly onTyped: (bytes: Uint8Array) => void;
  readonly onPasted: (text: string) => void;
  readonly onSize: (cols: number, rows: number) => void;
  /** Shift+F6: the way out for the keyboard, as Tab belongs to the program. */
  readonly onLeave: () => void;
}

export class Screen {
  readonly #terminal: Terminal;
  readonly #fit = new FitAddon();
  readonly #element: HTMLElement;
  readonly #observer: ResizeObserver;
  readonly #abort = new AbortController();

  constructor(element: HTMLElement, { label, onTyped, onPasted, onSize, onLeave }: ScreenOptions) {
    prepare();
    this.#element = element;
    const style = getComputedStyle(element);
    const terminal = new Terminal({
      allowProposedApi: false,
      cursorBlink: false,
      disableStdin: true,
      fontFamily: style.getPropertyValue('--mono'),
      fontSize: 13,
      lineHeight: 1.2,
      // Programs choose colours for a screen that they do not know.
      minimumContrastRatio: 4.5,
      scrollback: SCROLLBACK,
      theme: themeOf(element),
      linkHandler: { activate: () => undefined },
    });
    this.#terminal = terminal;
    for (const number of REFUSED_OSC) terminal.parser.registerOscHandler(number, () => true);
    terminal.loadAddon(this.#fit);
    terminal.open(element);
    terminal.textarea?.setAttribute('aria-label', label);
    const encoder = new TextEncoder();
    terminal.onData((text) => onTyped(encoder.encode(text)));
    terminal.onBinary((text) => onTyped(Uint8Array.from(text, (char) => char.charCodeAt(0))));
    terminal.onResize(({ cols, rows }) => onSize(cols, rows));
    terminal.attachCustomKeyEventHandler((event) => {
      if (event.key !== 'F6' || !event.shiftKey) return true;
      if (event.type === 'keydown') onLeave();
      event.preventDefault();
      return false;
    });
    const { signal } = this.#abort;
    // Before xterm's own listeners: it would type the text at once.
    element.addEventListener(
      'paste',
      (event) => {
        event.preventDefault();
        event.stopPropagation();
        onPasted(event.clipboardData?.getData('text/plain') ?? '');
      },
      { capture: true, signal },
    );
    for (const name of ['drop', 'dragover'])
      element.addEventListener(name, (event) => event.preventDefault(), { capture: true, signal });
    this.#observer = new ResizeObserver(() => this.fit());
    this.#observer.observe(element);
    this.fit();
  }

  get size(): { readonly cols: number; readonly rows: number } {
    const { cols, rows } = this.#terminal;
    return { cols, rows };
  }

  /** Whether what the user types, and what xterm itself answers to queries, is told at all. */
  set speaks(may: boolean) {
    this.#terminal.options.disableStdin = !may;
  }

  /** A live region with the lines that appear, for a screen reader. It costs time on much output. */
  set readsAloud(on: boolean) {
    this.#terminal.options.screenReaderMode = on;
  }

  /** Draws bytes; `drawn` is called when they are on the screen. */
  write(bytes: Uint8Array, drawn: () => void): void {
    this.#terminal.write(bytes, drawn);
  }

  /** Types a text as a paste: in brackets, if the program asks for them. */
  paste(text: string): void {
    this.#terminal.paste(text);
  }

  reset(): void {
    this.#terminal.reset();
  }

  focus(): void {
    this.#terminal.focus();
  }

  /** Takes the colours of the page as they are now. */
  recolour(): void {
    this.#terminal.options.theme = themeOf(this.#element);
  }

  fit(): void {
    // A hidden element has no size.
    if (this.#element.clientWidth > 0 && this.#element.clientHeight > 0) this.#fit.fit();
  }

  end(): void {
    this.#observer.disconnect();
    this.#abort.abort();
    this.#terminal.dispose();
  }
}

/** The colours as they are drawn here: a property by itself would name those of both schemes. */
function themeOf(element: HTMLElement): ITheme {
  const probe = document.createElement('i');
  element.append(probe);
  const colour = (name: string) => {
    probe.style.color = `var(--term-${name})`;
    return getComputedStyle(probe).color;
  };
  const theme = {
    background: colour('ground'),
    foreground: colour('text'),
    cursor: colour('cursor'),
    cursorAccent: colour('ground'),
    selectionBackground: colour('selection'),
    ...Object.fromEntries(ANSI.map((name, i) => [name, colour(String(i))])),
  };
  probe.remove();
  return theme;
}
