// The models that the page's host offers: models.json beside the page, entry by entry checked. An entry has an address, or names
// a file of a repository on Hugging Face.

import * as shape from './shape.js';
import { address, fileName, hubAddress } from './address.js';

const size = shape.whole(1, Number.MAX_SAFE_INTEGER);
const figure = shape.number(0, 1e12);
const common = {
  name: shape.text(200),
  parameters: size,
  card: shape.orNull(shape.object({ tokens: figure, perplexity: figure, referencePerplexity: figure, meanKl: figure, p99Kl: figure, sameTop: figure }, { text: shape.text(1 << 16) })),
  mode: shape.oneOf('chat', 'continue'),
  note: shape.text(2000),
  starters: shape.list(shape.text(2000), 12),
};
const listed = shape.object({ name: common.name, url: shape.text(4000) }, { ...common, bytes: size });
// What comes from there is not seen before it is fetched: its size is said.
const onHub = shape.object({ huggingface: shape.text(1000), bytes: size }, { ...common, revision: shape.matching(/^[\w.-]{1,100}$/, 'a branch, tag or commit without slashes') });

/** One entry as a choice. */
function choice(entry, place, base) {
  const hub = typeof entry === 'object' && entry !== null && 'huggingface' in entry;
  const checked = (hub ? onHub : listed)(entry, place);
  const { huggingface, revision, url, ...rest } = checked;
  const source = hub ? hubAddress(huggingface, revision) : address(url, base);
  if (source === null) {
    const [key, expected] = hub ? ['huggingface', 'owner/repository/file'] : ['url', 'an address of https, or one relative to the page'];
    throw new shape.ShapeError(`${place}.${key}`, shape.shown(hub ? huggingface : url), expected);
  }
  const file = fileName(source);
  return { name: file, ...rest, source, file, ...(hub ? { from: `Hugging Face: ${huggingface.split('/', 2).join('/')}` } : {}) };
}

/** Choices of the text of a models.json, and what is wrong with the entries that are left out. */
export function read(text, base) {
  let all;
  try {
    all = shape.object({ models: shape.list((v) => v, 1000) })(JSON.parse(text), '');
  } catch (error) {
    const what = error instanceof SyntaxError ? `no JSON (${error.message})` : error.message;
    return { models: [], wrong: [`models.json: ${what}`] };
  }
  const models = [];
  const wrong = [];
  all.models.forEach((entry, i) => {
    try {
      models.push(choice(entry, `models[${i}]`, base));
    } catch (error) {
      wrong.push(`models.json: ${error.message}`);
    }
  });
  return { models, wrong };
}

/** Fetches models.json. */
export async function load() {
  const response = await fetch('models.json');
  if (!response.ok) throw Object.assign(new Error(`models.json: HTTP ${response.status}`), { code: 'network' });
  return read(await response.text(), location.href);
}
