// Making elements without markup from strings.

/** `$('id')` is the element of that id. */
export const $ = (id) => document.getElementById(id);

/**
 * An element. `props`: `class`, `on` (listeners by event), `dataset`, properties of the element, and attributes for
 * names with a dash or that the element has no property for. `children`: elements, texts, or nothing.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name === 'class') node.className = value;
    else if (name === 'on') for (const [event, listener] of Object.entries(value)) node.addEventListener(event, listener);
    else if (name === 'dataset') Object.assign(node.dataset, value);
    else if (name in node && !name.includes('-') && name !== 'list') node[name] = value;
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false));
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

/** An icon of the page's sheet. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with a text, or with an icon whose name is read out. */
export function button(text, listener, { name, kind = '', ...props } = {}) {
  const content = name ? [icon(name), el('span', {}, text)] : [text];
  return el('button', { type: 'button', class: `button ${kind}`.trim(), on: { click: listener }, ...props }, ...content);
}

/** A heading with a button that closes its dialog. */
export function dialogHead(dialog, id, title) {
  return el(
    'header',
    { class: 'dialog-head' },
    el('h2', { id, tabIndex: -1 }, title),
    el('button', { type: 'button', class: 'tool', 'aria-label': 'Close', on: { click: () => dialog.close() } }, icon('close')),
  );
}

/** Opens a dialog; a click outside of it closes it. */
export function openDialog(dialog) {
  if (!dialog.dataset.wired) {
    dialog.dataset.wired = 'yes';
    dialog.addEventListener('click', (e) => {
      if (e.target !== dialog) return;
      const box = dialog.getBoundingClientRect();
      const inside = e.clientX >= box.left && e.clientX <= box.right && e.clientY >= box.top && e.clientY <= box.bottom;
      if (!inside) dialog.close();
    });
  }
  if (!dialog.open) dialog.showModal();
}

/** Puts a text on the clipboard; tells whether it went. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}
