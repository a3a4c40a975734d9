/** Creates elements. Text is always set as text, so nothing from a socket becomes markup. */

/** @param properties `class`, `on…` listeners, `style` as an object, attributes such as `aria-…` */
export function el<T extends keyof HTMLElementTagNameMap>(
  tag: T,
  properties: Record<string, unknown> = {},
  ...children: (Node | string | undefined)[]
): HTMLElementTagNameMap[T] {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value as EventListener);
    else if (name === 'style')
      for (const [key, each] of Object.entries(value as object)) element.style.setProperty(key, String(each));
    else if (name === 'value' || name === 'checked' || name === 'disabled' || name === 'hidden' || name === 'open')
      (element as unknown as Record<string, unknown>)[name] = value;
    else element.setAttribute(name, value === true ? '' : `${value as string | number}`);
  }
  for (const child of children) if (child !== undefined) element.append(child);
  return element;
}

/** The control that emitted an event. */
export const control = (event: Event) => event.target as HTMLInputElement;

export function byId(id: string) {
  const element = document.getElementById(id);
  if (!element) throw new Error(`no element ${id}`);
  return element;
}

let lastId = 0;
/** A fresh id that links a label to its control. */
export function freshId() {
  lastId += 1;
  return `e${lastId}`;
}

/** A control with its label above and a hint below. */
export function field(label: string, control: HTMLElement, hint?: string) {
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

export function check(label: string, box: HTMLInputElement, hint?: string) {
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

/** As `el`, for drawings; without listeners. */
export function svg<T extends keyof SVGElementTagNameMap>(
  tag: T,
  attributes: Record<string, string | number> = {},
  ...children: Node[]
): SVGElementTagNameMap[T] {
  const element = document.createElementNS('http://www.w3.org/2000/svg', tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}
