// Markdown of an answer as elements. What a model writes is hostile text: marked parses, DOMPurify lets through what
// shows text, and nothing that loads, runs, or takes a click elsewhere unseen.

import { marked } from '../vendor/marked/marked.esm.js';
import DOMPurify from '../vendor/dompurify/purify.es.mjs';
import { announce } from './announce.js';
import { copy, el, icon } from './dom.js';

const TAGS = ['p', 'br', 'strong', 'em', 'del', 'code', 'pre', 'blockquote', 'ul', 'ol', 'li', 'h3', 'h4', 'h5', 'h6', 'hr', 'a', 'table', 'thead', 'tbody', 'tr', 'th', 'td'];

const clean = (html) =>
  DOMPurify.sanitize(html, {
    ALLOWED_TAGS: TAGS,
    ALLOWED_ATTR: ['href', 'start', 'align'],
    ALLOW_DATA_ATTR: false,
    ALLOW_ARIA_ATTR: false,
    ALLOWED_URI_REGEXP: /^(?:https?|mailto):/i,
    RETURN_DOM_FRAGMENT: true,
  });

const escaped = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

marked.use({
  gfm: true,
  renderer: {
    // Markup in an answer is shown as the model wrote it.
    html: ({ text }) => escaped(text),
    // An image would tell its host that the answer was read.
    image: ({ href, text }) => `${escaped(text || 'image')} (${escaped(href)})`,
    // No boxes to tick in an answer.
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
  },
});

/** A button that copies a block of code. */
function copier(pre) {
  const go = el('button', { type: 'button', class: 'action copy-code', title: 'Copy the code', 'aria-label': 'Copy the code' }, icon('copy'));
  go.addEventListener('click', async () => {
    const went = await copy(pre.textContent.replace(/\n$/, ''));
    announce(went ? 'Copied.' : 'The browser does not allow copying; select the text.');
    if (!went) return;
    go.classList.add('done');
    setTimeout(() => go.classList.remove('done'), 1500);
  });
  return go;
}

/** One block, ready to be put in. */
function block(html) {
  const fragment = clean(html);
  for (const link of fragment.querySelectorAll('a[href]')) {
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
  }
  for (const pre of fragment.querySelectorAll('pre')) {
    // What scrolls must be reachable by keyboard.
    pre.tabIndex = 0;
    pre.setAttribute('role', 'region');
    pre.setAttribute('aria-label', 'Code');
    const frame = el('div', { class: 'code' });
    pre.replaceWith(frame);
    frame.append(pre, copier(pre));
  }
  const holder = document.createElement('div');
  holder.className = 'block';
  holder.append(fragment);
  return holder;
}

/** Headings below the page's own, which are h1 and h2, and none that leaves out a level. */
function levels(tokens) {
  let above = 2;
  for (const token of tokens) {
    if (token.type !== 'heading') continue;
    token.depth = Math.min(token.depth + 2, above + 1, 6);
    above = token.depth;
  }
}

/** The HTML of each block, not yet clean; null of a text that nests deeper than the parser's stack. */
function blocks(text) {
  try {
    const tokens = marked.lexer(text).filter((t) => t.type !== 'space' && t.type !== 'def');
    levels(tokens);
    return tokens.map((t) => marked.parser([t]));
  } catch {
    return null;
  }
}

/**
 * Shows Markdown in an element, again and again while it grows. Blocks are sanitised and made anew only where
 * their HTML changed, which a later definition of a link can do to an earlier block.
 */
export class Markdown {
  constructor(element) {
    this.element = element;
    this.made = [];
  }

  show(text) {
    const html = blocks(text);
    if (html === null) {
      this.made = [];
      this.element.textContent = text;
      return;
    }
    if (this.made.length === 0) this.element.replaceChildren();
    html.forEach((source, i) => {
      if (this.made[i] === source) return;
      const old = this.element.children[i];
      if (old) old.replaceWith(block(source));
      else this.element.append(block(source));
    });
    while (this.element.children.length > html.length) this.element.lastChild.remove();
    this.made = html;
  }
}
