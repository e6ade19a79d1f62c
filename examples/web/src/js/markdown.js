// Markdown of an answer as elements. What a model writes is hostile text: marked parses, DOMPurify lets through what
// shows text, and nothing that loads, runs, or takes a click elsewhere unseen.

import { marked } from '../vendor/marked/marked.esm.js';
import DOMPurify from '../vendor/dompurify/purify.es.mjs';

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
    // The page's own headings are h1 and h2.
    heading({ tokens, depth }) {
      const tag = `h${Math.min(depth + 2, 6)}`;
      return `<${tag}>${this.parser.parseInline(tokens)}</${tag}>`;
    },
    // No boxes to tick in an answer.
    checkbox: ({ checked }) => (checked ? '☑ ' : '☐ '),
  },
});

/** One block, ready to be put in. */
function block(token) {
  const fragment = clean(marked.parser([token]));
  for (const link of fragment.querySelectorAll('a')) {
    if (!link.hasAttribute('href')) continue;
    link.target = '_blank';
    link.rel = 'noopener noreferrer nofollow';
  }
  for (const pre of fragment.querySelectorAll('pre')) {
    // What scrolls must be reachable by keyboard.
    pre.tabIndex = 0;
    pre.setAttribute('role', 'region');
    pre.setAttribute('aria-label', 'Code');
  }
  const holder = document.createElement('div');
  holder.className = 'block';
  holder.append(fragment);
  return holder;
}

/**
 * Shows Markdown in an element, again and again while it grows: only blocks whose source changed are made anew.
 */
export class Markdown {
  constructor(element) {
    this.element = element;
    this.raws = [];
  }

  show(text) {
    const tokens = marked.lexer(text).filter((t) => t.type !== 'space' && t.type !== 'def');
    tokens.forEach((token, i) => {
      if (this.raws[i] === token.raw && i < tokens.length - 1) return;
      if (this.raws[i] === token.raw && this.element.children[i]) return;
      const made = block(token);
      const old = this.element.children[i];
      if (old) old.replaceWith(made);
      else this.element.append(made);
      this.raws[i] = token.raw;
    });
    while (this.element.children.length > tokens.length) this.element.lastChild.remove();
    this.raws.length = tokens.length;
  }
}
