// "Same everywhere": the hash over an answer's logits, and how to get it again elsewhere.

import { $, el, button, copy, dialogHead, openDialog, icon } from './dom.js';
import { plural } from './format.js';
import { command } from './talk.js';
import { announce } from './announce.js';

const narrow = matchMedia('(max-width: 1039px)');

export class Same {
  /** @param {(run: object, device: string) => Promise<object>} again @param {() => string | null} other */
  constructor(again, other) {
    this.again = again;
    this.other = other;
    this.run = null;
    /** The hash over the answer that is under way. */
    this.live = null;
    $('open-same').addEventListener('click', () => this.open());
    narrow.addEventListener('change', () => {
      $('same-dialog').close();
      this.draw();
    });
    this.draw();
  }

  /** Shows an answer's run, or none. */
  show(run) {
    this.run = run;
    this.live = null;
    this.draw();
  }

  /** Another model may be open: what can be computed here changes with it. */
  changed() {
    if (!this.live) this.draw();
  }

  /** Shows the hash over so many tokens of an answer that goes on. */
  grow(hash, tokens) {
    const begun = this.live === null;
    this.live = { hash, tokens };
    if (begun) return this.draw();
    $('live-hash').textContent = hash;
    $('live-over').textContent = soFar(tokens);
  }

  /** The answer ended without a result: the one before is shown again. */
  settle() {
    if (this.live) this.show(this.run);
  }

  /** Brings the panel to whoever asked for it. */
  open() {
    this.draw();
    if (narrow.matches) openDialog($('same-dialog'));
    $('same-title').focus();
  }

  draw() {
    const body = [this.text(), ...this.answer()];
    if (narrow.matches) {
      $('same').replaceChildren();
      const dialog = $('same-dialog');
      dialog.replaceChildren(dialogHead(dialog, 'same-title', 'Same everywhere'), el('div', { class: 'dialog-body same' }, ...body));
    } else {
      $('same-dialog').replaceChildren();
      $('same').replaceChildren(el('h2', { id: 'same-title', tabIndex: -1 }, 'Same everywhere'), ...body);
    }
  }

  text() {
    return el('p', { class: 'dim' }, 'Every logit is an integer. Their hash over an answer is the same on each device; a single other bit would change it.');
  }

  answer() {
    const { run, live } = this;
    if (live) {
      return [
        el('dl', { class: 'facts' }, el('dt', {}, 'Logits hash'), el('dd', {}, el('code', { id: 'live-hash', class: 'hash' }, live.hash)), el('dt', {}, 'Over'), el('dd', { id: 'live-over' }, soFar(live.tokens))),
      ];
    }
    if (!run?.result) return [el('p', { class: 'same-none' }, 'The hash of an answer appears here, with the command that makes the answer again.')];
    const { result } = run;
    const line = command(run);
    return [
      el(
        'dl',
        { class: 'facts' },
        el('dt', {}, 'Logits hash'),
        el('dd', {}, el('code', { id: 'hash', class: 'hash' }, result.logitsHash)),
        el('dt', {}, 'Over'),
        el('dd', {}, `${plural(result.generatedTokens, 'token')} after ${plural(result.promptTokens, 'token')} of prompt, seed ${run.sampling.seed}`),
        el('dt', {}, 'Computed on'),
        el('dd', {}, device(result.device)),
      ),
      this.elsewhere(),
      el('h3', {}, 'The same on the command line'),
      el('pre', { id: 'command', class: 'command', tabIndex: 0, role: 'region', 'aria-label': 'Command' }, line),
      run.left > 0 ? el('p', { class: 'help' }, 'The oldest messages had no room in the context and are left out.') : null,
      copyButton('Copy the command', line),
      compare(result.logitsHash),
    ].filter(Boolean);
  }

  /** A button that computes the answer again on the other device and compares. */
  elsewhere() {
    const { run } = this;
    const other = this.other(run);
    if (!other) return null;
    const out = el('p', { class: 'verdict', role: 'status' });
    const go = button(`Compute it again on ${device(other)}`, async () => {
      go.disabled = true;
      out.textContent = 'Computing …';
      try {
        const result = await this.again(run, other);
        verdict(out, result.logitsHash === run.result.logitsHash, `${device(other)} gives ${result.logitsHash}`);
      } catch (error) {
        out.textContent = `It could not be computed there: ${error.message}`;
      }
      go.disabled = false;
      go.focus();
    });
    return el('div', { class: 'elsewhere' }, go, out);
  }
}

const soFar = (tokens) => `${plural(tokens, 'token')} so far`;

/** How a device is called. */
export const device = (name) => ({ webgpu: 'WebGPU', cpu: 'the CPU', server: 'the server' })[name] ?? name;

function verdict(out, equal, text) {
  out.className = `verdict ${equal ? 'good' : 'different'}`;
  out.textContent = `${equal ? 'Equal to the bit' : 'Different'}: ${text}`;
}

/** A field for what another machine printed. */
function compare(hash) {
  const out = el('p', { class: 'verdict', role: 'status' });
  const input = el('input', {
    id: 'other-hash',
    spellcheck: false,
    autocomplete: 'off',
    on: {
      input: () => {
        const found = /"logits_hash"\s*:\s*"([0-9a-f]+)"/i.exec(input.value)?.[1] ?? input.value.trim();
        out.className = 'verdict';
        if (found === '') out.textContent = '';
        else verdict(out, found.toLowerCase() === hash.toLowerCase(), found.toLowerCase() === hash.toLowerCase() ? 'the same logits there' : 'other logits, or another file, prompt or setting');
      },
    },
  });
  return el('div', { class: 'field' }, el('label', { htmlFor: 'other-hash' }, 'Hash of another machine, or its JSON'), input, out);
}

function copyButton(text, content) {
  const go = el('button', {
    type: 'button',
    class: 'button',
    on: {
      click: async () => {
        const went = await copy(content);
        announce(went ? 'Copied.' : 'The browser does not allow copying; select the text.');
        label.textContent = went ? 'Copied' : 'Select the text to copy it';
        setTimeout(() => (label.textContent = text), 2000);
      },
    },
  });
  const label = el('span', {}, text);
  go.append(icon('copy'), label);
  return go;
}
