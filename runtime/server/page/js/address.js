// Addresses of model files, as people and lists give them.

const HUB = 'https://huggingface.co';
const NAME = /^[\w](?:[\w.-]{0,94}[\w])?$/;

/** The address of `owner/repository/path/of/file`, or null where that is none. */
export function hubAddress(path, revision = 'main') {
  const parts = path.split('/');
  const [owner, repository, ...file] = parts;
  const names = file.length > 0 && NAME.test(owner) && NAME.test(repository);
  const clean = file.every((p) => p !== '' && p !== '.' && p !== '..' && !/[\\\u0000-\u001f]/.test(p));
  if (!names || !clean) return null;
  return `${HUB}/${owner}/${repository}/resolve/${encodeURIComponent(revision)}/${file.map(encodeURIComponent).join('/')}`;
}

/** The whole address of what a person or a list gives, or null: https (http too), of this page's folder, or of Hugging Face. */
export function address(text, base) {
  if (/^https?:\/\/\S+$/i.test(text) && URL.canParse(text)) return new URL(text).href;
  if (base === undefined) return hubAddress(text);
  if (!/^[a-z][a-z0-9+.-]*:/i.test(text) && URL.canParse(text, base)) {
    const url = new URL(text, base);
    return /^https?:$/.test(url.protocol) ? url.href : null;
  }
  return null;
}

/** The last part of an address, without its query: what the file is called in a command. */
export function fileName(address) {
  try {
    return decodeURIComponent(new URL(address, globalThis.location?.href).pathname.split('/').pop()) || 'model.gguf';
  } catch {
    return 'model.gguf';
  }
}
