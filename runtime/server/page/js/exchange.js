// Conversations as a file: written by “Export”, read by “Import”. What a file says is checked as a whole before anything of it
// is kept.

import * as shape from './shape.js';
import { conversation } from './record.js';

const FORMAT = 'carat-conversations';
const VERSION = 1;
/** Most bytes of a file. */
const MOST = 64 << 20;

const whole = shape.object({
  format: shape.oneOf(FORMAT),
  version: shape.oneOf(VERSION),
  conversations: shape.list(conversation, 10_000),
});

/** The text of a file. */
export const write = (conversations) => `${JSON.stringify({ format: FORMAT, version: VERSION, conversations }, null, 1)}\n`;

const failed = (message) => Object.assign(new Error(message), { code: 'import' });

/** The conversations of a file's text; `name` is what errors call it. */
export function read(text, name) {
  let value;
  try {
    value = JSON.parse(text.replace(/^\ufeff/, ''));
  } catch (error) {
    throw failed(`${name}: no JSON: ${error.message}`);
  }
  // A file of a later page says so before anything else is asked of it.
  const { format, version } = typeof value === 'object' && value !== null ? value : {};
  if (format === FORMAT && Number.isInteger(version) && version > VERSION) {
    throw failed(`${name}: version: found ${version}, expected at most ${VERSION}; a newer page wrote it, take that one`);
  }
  try {
    return whole(value, '').conversations;
  } catch (error) {
    throw failed(`${name}: ${error.message.replace(/^: /, '')}`);
  }
}

/** The conversations of a file. */
export async function readFile(file) {
  if (file.size > MOST) throw failed(`${file.name}: found ${file.size} bytes, expected at most ${MOST}`);
  let text;
  try {
    text = await file.text();
  } catch (error) {
    throw failed(`${file.name}: it cannot be read: ${error.message}`);
  }
  return read(text, file.name);
}
