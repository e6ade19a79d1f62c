// The conversation on the page. It is told what to show and says what was asked for; it decides nothing.

import { $, el, icon, copy } from './dom.js';
import { Markdown } from './markdown.js';
import { milliseconds, plural, rate } from './format.js';
import { ending } from './talk.js';
import { announce } from './announce.js';

/** How often text on the page follows the model, in ms: a screen is not read faster. */
const SHOW = 60;

export class View {
  /** @param {{ again(p), edit(p, text), same(p), goOn(p), canGoOn(p): boolean, raise() }} asked */
  constructor(asked) {
    this.asked = asked;
    this.nodes = new Map();
    this.list = $('talk');
    this.main = $('main');
    this.mode = 'continue';
  }

  /** Shows these passages and no others. */
  set(passages, mode) {
    if (mode !== this.mode) {
      // The same text is set differently as prose and as a chat.
      this.mode = mode;
      this.nodes.clear();
      this.list.replaceChildren();
    }
    this.list.classList.toggle('prose', mode === 'continue');
    $('empty').hidden = passages.length > 0;
    $('talk-title').hidden = passages.length === 0;
    const keep = new Set(passages.map((p) => p.id));
    for (const [id, node] of this.nodes) {
      if (keep.has(id)) continue;
      node.li.remove();
      this.nodes.delete(id);
    }
    for (const p of passages) {
      if (!this.nodes.has(p.id)) this.add(p);
      this.draw(p, p === passages.at(-1));
    }
  }

  add(p) {
    const body = el('div', { class: 'body' });
    const thought = p.role === 'assistant' ? el('details', { class: 'thought', hidden: true }, el('summary', {}, 'Reasoning'), el('div', { class: 'thought-text' })) : null;
    const foot = el('footer', { class: 'foot' });
    const article = el('article', { class: `passage ${p.role}` }, thought, body, foot);
    const li = el('li', {}, article);
    this.nodes.set(p.id, { li, article, thought, body, foot, markdown: p.role === 'assistant' && this.mode === 'chat' ? new Markdown(body) : null, shown: 0, timer: 0 });
    this.list.append(li);
  }

  /** Who says it, as a heading for those who hear the page. */
  name(p) {
    if (this.mode === 'continue') return p.role === 'user' ? 'Your text' : 'Continuation';
    return p.role === 'user' ? 'You' : 'Answer';
  }

  draw(p, last) {
    const node = this.nodes.get(p.id);
    node.article.setAttribute('aria-label', this.name(p));
    this.text(p, node);
    node.foot.replaceChildren(...(p.running ? [] : this.footer(p, last)));
    node.article.classList.toggle('running', Boolean(p.running));
    node.article.setAttribute('aria-busy', p.running ? 'true' : 'false');
  }

  text(p, node) {
    // A continuation begins with the space after the word before it; a paragraph on the page does not.
    const text = p.role === 'assistant' ? p.text.replace(/^ /, '') : p.text;
    if (node.markdown) node.markdown.show(text);
    else if (node.body.textContent !== text) node.body.textContent = text;
    this.reasoning(p, node);
    node.shown = performance.now();
  }

  /** What the model thought, folded; its heading says whether it still does. */
  reasoning(p, { thought }) {
    if (!thought) return;
    const text = p.reasoning ?? '';
    thought.hidden = text === '';
    if (thought.hidden) return;
    const [summary, body] = thought.children;
    const heading = p.running && p.text === '' ? 'Reasoning …' : 'Reasoning';
    if (summary.textContent !== heading) summary.textContent = heading;
    if (body.textContent !== text) body.textContent = text;
  }

  /** Text has come: it is shown soon, not for every token. */
  grow(p) {
    const node = this.nodes.get(p.id);
    if (!node || node.timer) return;
    const wait = Math.max(0, SHOW - (performance.now() - node.shown));
    node.timer = setTimeout(() => {
      node.timer = 0;
      this.keepEnd(() => this.text(p, node));
    }, wait);
  }

  /** Changes the page; who reads its end goes on seeing the end. */
  keepEnd(change) {
    const page = document.scrollingElement;
    const atEnd = page.scrollHeight - page.scrollTop - page.clientHeight < 80;
    change();
    if (atEnd) page.scrollTop = page.scrollHeight;
  }

  toEnd() {
    document.scrollingElement.scrollTop = document.scrollingElement.scrollHeight;
  }

  footer(p, last) {
    const parts = [];
    const result = p.run?.result;
    if (result) {
      const speed = result.tokensPerSecond > 0 ? ` at ${rate(result.tokensPerSecond)} a second` : '';
      parts.push(
        el('span', { class: 'stats' }, `${plural(result.generatedTokens, 'token')}${speed}, first after ${milliseconds(result.msToFirstToken)}, seed ${p.run.sampling.seed}, ${ending(result.reason)}`),
        this.action('same', 'Same everywhere', () => this.asked.same(p), `#${result.logitsHash.slice(0, 8)}`),
      );
    }
    else if (p.role === 'assistant' && p.run) parts.push(el('span', { class: 'stats' }, 'broken off'));
    if (this.asked.canGoOn(p)) parts.push(el('button', { type: 'button', class: 'button small', dataset: { action: 'go-on' }, on: { click: () => this.asked.goOn(p) } }, 'Continue'));
    if (result?.reason === 'context' && last) parts.push(el('button', { type: 'button', class: 'button small', dataset: { action: 'raise' }, on: { click: () => this.asked.raise() } }, 'Raise the context'));
    parts.push(el('span', { class: 'grow' }));
    parts.push(this.action('copy', 'Copy', async () => announce((await copy(p.text)) ? 'Copied.' : 'The browser does not allow copying.')));
    if (p.role === 'user' || this.mode === 'continue') parts.push(this.action('edit', 'Edit', () => this.edit(p)));
    if (p.role === 'assistant' && last) parts.push(this.action('again', 'Regenerate', () => this.asked.again(p)));
    return parts;
  }

  action(name, label, listener, text) {
    return el('button', { type: 'button', class: 'action', title: label, 'aria-label': text ? `${label}: ${text}` : label, dataset: { action: name }, on: { click: listener } }, text ? el('code', {}, text) : icon(name));
  }

  /** Turns a passage into a field. */
  edit(p) {
    const node = this.nodes.get(p.id);
    if (!node || node.editor) return;
    const area = el('textarea', { class: 'editor', value: p.text, rows: 1, 'aria-label': `Edit: ${this.name(p)}` });
    const done = () => {
      node.editor = null;
      node.article.classList.remove('editing');
      form.remove();
    };
    const leave = () => {
      done();
      node.foot.querySelector('[data-action=edit]')?.focus();
    };
    const save = () => {
      if (p.role === 'user' && area.value.trim() === '') return area.focus();
      done();
      this.asked.edit(p, area.value);
    };
    const form = el(
      'form',
      {
        class: 'edit',
        on: {
          submit: (e) => (e.preventDefault(), save()),
          keydown: (e) => {
            if (e.key === 'Escape') (e.stopPropagation(), leave());
            if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) (e.preventDefault(), save());
          },
        },
      },
      area,
      el('p', { class: 'help' }, p.role === 'user' ? 'What comes after it is written anew.' : 'What comes after it is removed.'),
      el(
        'div',
        { class: 'actions' },
        el('button', { type: 'submit', class: 'button primary' }, p.role === 'user' ? 'Save and answer' : 'Save'),
        el('button', { type: 'button', class: 'button', on: { click: leave } }, 'Cancel'),
      ),
    );
    node.editor = form;
    node.article.classList.add('editing');
    node.article.append(form);
    fit(area);
    area.addEventListener('input', () => fit(area));
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }

  focusLast(action) {
    const buttons = this.list.querySelectorAll(`[data-action=${action}]`);
    buttons[buttons.length - 1]?.focus({ preventScroll: true });
  }
}

/** A field as high as its text. */
export function fit(area) {
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight + 2}px`;
}
