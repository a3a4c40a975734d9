// @ts-check
// Small tools for making elements. Text is always set as text: nothing that comes from a socket becomes markup.

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, unknown>} [properties] `class`, `on…` listeners, `style` as an object, `aria-…` and the like
 * @param {...(Node | string | undefined)} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), /** @type {EventListener} */ (value));
    else if (name === 'style')
      for (const [key, each] of Object.entries(/** @type {object} */ (value)))
        element.style.setProperty(key, String(each));
    else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'hidden' || name === 'open')
      /** @type {any} */ (element)[name] = value;
    else element.setAttribute(name, value === true ? '' : `${/** @type {string | number} */ (value)}`);
  }
  for (const child of children) if (child !== undefined) element.append(child);
  return element;
}

/** @param {string} id */
export function byId(id) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

let lastId = 0;
/** A fresh id, to tie a label to its control. */
export function freshId() {
  lastId += 1;
  return `e${lastId}`;
}

/**
 * A control with its label above and a hint below.
 * @param {string} label
 * @param {HTMLElement} control
 * @param {string} [hint]
 */
export function field(label, control, hint) {
  control.id ||= freshId();
  const hintId = `${control.id}-hint`;
  if (hint) control.setAttribute('aria-describedby', hintId);
  return el(
    'div',
    { class: 'field' },
    el('label', { for: control.id }, label),
    control,
    hint ? el('p', { class: 'hint', id: hintId }, hint) : undefined,
  );
}

/**
 * @param {string} label
 * @param {HTMLInputElement} box
 * @param {string} [hint]
 */
export function check(label, box, hint) {
  box.id ||= freshId();
  const hintId = `${box.id}-hint`;
  if (hint) box.setAttribute('aria-describedby', hintId);
  return el(
    'div',
    { class: 'field check' },
    box,
    el('label', { for: box.id }, label),
    hint ? el('p', { class: 'hint', id: hintId }, hint) : undefined,
  );
}
