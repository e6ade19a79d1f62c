// Markdown of an answer as elements, in place of the page's own module of that name: without libraries, so that the server
// carries none. Everything is made as elements and texts; nothing a model writes is ever read as HTML.

import { announce } from './announce.js';
import { copy, el, icon } from './dom.js';

/** Deepest nesting of lists and quotes. */
const DEEPEST = 8;

function copier(text) {
  const go = el('button', { type: 'button', class: 'action copy-code', title: 'Copy the code', 'aria-label': 'Copy the code' }, icon('copy'));
  go.addEventListener('click', async () => {
    const went = await copy(text);
    announce(went ? 'Copied.' : 'The browser does not allow copying; select the text.');
    if (!went) return;
    go.classList.add('done');
    setTimeout(() => go.classList.remove('done'), 1500);
  });
  return go;
}

const code = (text) => el('div', { class: 'code' }, el('pre', { tabIndex: 0, role: 'region', 'aria-label': 'Code' }, el('code', {}, text)), copier(text));

/** What stands in a line: code, links, strong and emphasised text. Each mark is closed within its paragraph or is a text. */
const MARKS = [
  [/^(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/, (m) => el('code', {}, m[2].trim())],
  [/^\*\*(?=\S)([\s\S]*?\S)\*\*/, (m, deep) => el('strong', {}, ...inline(m[1], deep))],
  [/^__(?=\S)([\s\S]*?\S)__(?!\w)/, (m, deep) => el('strong', {}, ...inline(m[1], deep))],
  [/^~~(?=\S)([\s\S]*?\S)~~/, (m, deep) => el('del', {}, ...inline(m[1], deep))],
  [/^\*(?=[^\s*])([^*]*[^\s*])\*/, (m, deep) => el('em', {}, ...inline(m[1], deep))],
  [/^_(?=[^\s_])([^_]*[^\s_])_(?!\w)/, (m, deep) => el('em', {}, ...inline(m[1], deep))],
  // An image would tell its host that the answer was read.
  [/^!\[([^\[\]]*)\]\(([^\s()]+)(?:\s+"[^"]*")?\)/, (m) => `${m[1] || 'image'} (${m[2]})`],
  [/^\[([^\[\]]+)\]\((https?:\/\/[^\s()]+|mailto:[^\s()]+)\)/, (m, deep) => link(m[2], inline(m[1], deep))],
  [/^<?(https?:\/\/[^\s<>()"'`]*[^\s<>()"'`.,;:!?])>?/, (m) => link(m[1], [m[1]])],
  [/^ {2,}\n|^\\\n/, () => el('br')],
];

const link = (href, children) => el('a', { href, target: '_blank', rel: 'noopener noreferrer nofollow' }, ...children);

function inline(text, deep = 0) {
  if (deep > DEEPEST) return [text];
  const out = [];
  let plain = '';
  for (let at = 0; at < text.length; ) {
    const c = text[at];
    if (c === '\\' && /[\\`*_{}[\]()#+\-.!~|<>]/.test(text[at + 1] ?? '')) {
      plain += text[at + 1];
      at += 2;
      continue;
    }
    const before = text[at - 1] ?? ' ';
    // A mark within a word is none, but for code.
    const may = '`*_~![<h \\'.includes(c) && (c !== '_' && c !== 'h' || !/\w/.test(before));
    const found = may && MARKS.map(([pattern, make]) => [pattern.exec(text.slice(at, at + 4000)), make]).find(([m]) => m);
    if (found) {
      if (plain) out.push(plain);
      plain = '';
      out.push(found[1](found[0], deep + 1));
      at += found[0][0].length;
    } else {
      plain += c;
      at += 1;
    }
  }
  if (plain) out.push(plain);
  return out;
}

const ITEM = /^( {0,3})([-*+]|\d{1,9}[.)])(?: +|$)/;
const FENCE = /^ {0,3}(`{3,}|~{3,})/;
const HEADING = /^ {0,3}(#{1,6}) +(.*?)(?: +#+)? *$/;
const RULE = /^ {0,3}(?:(?:\* *){3,}|(?:- *){3,}|(?:_ *){3,})$/;
const cells = (line) => line.trim().replace(/^\||\|$/g, '').split(/(?<!\\)\|/).map((c) => c.trim().replaceAll('\\|', '|'));
const isTable = (lines, i) => lines[i].includes('|') && /^ {0,3}\|?[\s:|-]*-[\s:|-]*$/.test(lines[i + 1] ?? '') && lines[i + 1].includes('|');

/** The elements of lines. */
function blocks(lines, deep = 0) {
  const out = [];
  let level = 2;
  for (let i = 0; i < lines.length; ) {
    const line = lines[i];
    if (line.trim() === '') {
      i += 1;
      continue;
    }
    const fence = FENCE.exec(line);
    if (fence) {
      const inner = [];
      const closes = new RegExp(`^ {0,3}${fence[1][0]}{${fence[1].length},} *$`);
      for (i += 1; i < lines.length && !closes.test(lines[i]); i += 1) inner.push(lines[i]);
      i += 1;
      out.push(code(inner.join('\n')));
      continue;
    }
    const heading = HEADING.exec(line);
    if (heading) {
      // Below the page's own headings, and none that leaves out a level.
      level = Math.min(heading[1].length + 2, level + 1, 6);
      out.push(el(`h${level}`, {}, ...inline(heading[2])));
      i += 1;
      continue;
    }
    if (RULE.test(line)) {
      out.push(el('hr'));
      i += 1;
      continue;
    }
    if (/^ {0,3}>/.test(line) && deep < DEEPEST) {
      const inner = [];
      for (; i < lines.length && /^ {0,3}>/.test(lines[i]); i += 1) inner.push(lines[i].replace(/^ {0,3}> ?/, ''));
      out.push(el('blockquote', {}, ...blocks(inner, deep + 1)));
      continue;
    }
    const item = ITEM.exec(line);
    if (item && deep < DEEPEST) {
      const ordered = /\d/.test(item[2]);
      const items = [];
      while (i < lines.length) {
        const next = ITEM.exec(lines[i]);
        if (!next || /\d/.test(next[2]) !== ordered) break;
        const inner = [lines[i].slice(next[0].length)];
        const indent = ' '.repeat(Math.min(next[0].length, 4));
        for (i += 1; i < lines.length; i += 1) {
          const blank = lines[i].trim() === '';
          const deeper = lines[i].startsWith(indent) || (next[0].length > 2 && lines[i].startsWith('  '));
          if (blank ? !(lines[i + 1] ?? '').startsWith('  ') : !deeper && (ITEM.test(lines[i]) || FENCE.test(lines[i]) || HEADING.test(lines[i]) || lines[i - 1].trim() === '')) break;
          inner.push(deeper ? lines[i].replace(/^ {1,4}/, (s) => s.slice(Math.min(s.length, indent.length))) : lines[i]);
        }
        while (i < lines.length && lines[i].trim() === '' && ITEM.test(lines[i + 1] ?? '')) i += 1;
        const parts = blocks(inner, deep + 1);
        // The paragraph of a tight item is its text alone.
        const tight = parts[0]?.tagName === 'P' ? [...parts[0].childNodes, ...parts.slice(1)] : parts;
        items.push(el('li', {}, ...tight));
      }
      out.push(el(ordered ? 'ol' : 'ul', ordered ? { start: parseInt(item[2], 10) } : {}, ...items));
      continue;
    }
    if (isTable(lines, i)) {
      const row = (line, tag) => el('tr', {}, ...cells(line).map((c) => el(tag, {}, ...inline(c))));
      const head = row(line, 'th');
      const body = [];
      for (i += 2; i < lines.length && lines[i].includes('|'); i += 1) body.push(row(lines[i], 'td'));
      out.push(el('table', {}, el('thead', {}, head), el('tbody', {}, ...body)));
      continue;
    }
    const inner = [line];
    const ends = (l, at) => l.trim() === '' || FENCE.test(l) || HEADING.test(l) || RULE.test(l) || /^ {0,3}>/.test(l) || ITEM.test(l) || isTable(lines, at);
    for (i += 1; i < lines.length && !ends(lines[i], i); i += 1) inner.push(lines[i]);
    out.push(el('p', {}, ...inline(inner.join('\n').trim())));
  }
  return out;
}

/** Shows Markdown in an element, again and again while it grows. What has not changed stays as it is. */
export class Markdown {
  constructor(element) {
    this.element = element;
    this.shown = null;
  }

  show(text) {
    if (text === this.shown) return;
    this.shown = text;
    const made = blocks(text.split('\n')).map((b) => el('div', { class: 'block' }, b));
    const { children } = this.element;
    if (children.length === 0) this.element.replaceChildren();
    made.forEach((node, i) => {
      if (!children[i]) this.element.append(node);
      else if (!children[i].isEqualNode(node)) children[i].replaceWith(node);
    });
    while (children.length > made.length) this.element.lastChild.remove();
  }
}
