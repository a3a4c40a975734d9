/**
 * The element that takes the place of xterm's `<style>` elements (`scripts/xterm-csp.js`): its text becomes a style sheet
 * of the document, which `style-src 'self'` allows, as only a script of ours can make one.
 */
class XtermStyle extends HTMLElement {
  readonly #sheet = new CSSStyleSheet();
  #text = '';

  override get textContent(): string {
    return this.#text;
  }

  override set textContent(text: string) {
    this.#text = text;
    this.#sheet.replaceSync(text);
  }

  connectedCallback(): void {
    document.adoptedStyleSheets = [...document.adoptedStyleSheets, this.#sheet];
  }

  disconnectedCallback(): void {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((sheet) => sheet !== this.#sheet);
  }
}

/** Makes the element known, before the first terminal is opened. */
export function defineStyleElement(): void {
  if (!customElements.get('xterm-style')) customElements.define('xterm-style', XtermStyle);
}
