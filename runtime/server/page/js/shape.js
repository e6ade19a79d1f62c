// What JSON from outside may look like. A shape takes a value and its place, gives it back checked, and refuses by name: the
// place, what was found, what was expected.

/** A value that is not as it should be. */
export class ShapeError extends Error {
  constructor(place, found, expected) {
    super(`${place}: found ${found}, expected ${expected}`);
    this.code = 'import';
  }
}

/** A value in a few words. */
export function shown(value) {
  if (value === undefined) return 'nothing';
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === 'object' && value !== null) return 'an object';
  const text = JSON.stringify(value);
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}

const refuse = (place, value, expected) => {
  throw new ShapeError(place, shown(value), expected);
};

/** A text of at most so many UTF-16 units. */
export const text = (most) => (value, place) => {
  if (typeof value !== 'string') refuse(place, value, 'a text');
  if (value.length > most) throw new ShapeError(place, `${value.length} characters`, `at most ${most}`);
  return value;
};

/** A text that a pattern matches as a whole. */
export const matching = (pattern, what) => (value, place) => (typeof value === 'string' && pattern.test(value) ? value : refuse(place, value, what));

/** A finite number of a range. */
export const number = (min, max) => (value, place) =>
  typeof value === 'number' && Number.isFinite(value) && value >= min && value <= max ? value : refuse(place, value, `a number from ${min} to ${max}`);

/** A whole number of a range. */
export const whole = (min, max) => (value, place) => (Number.isSafeInteger(value) && value >= min && value <= max ? value : refuse(place, value, `a whole number from ${min} to ${max}`));

/** One of some texts or numbers. */
export const oneOf = (...all) => (value, place) => (all.includes(value) ? value : refuse(place, value, all.map((v) => JSON.stringify(v)).join(' or ')));

/** Null, or the shape. */
export const orNull = (shape) => (value, place) => (value === null ? null : shape(value, place));

/** A list of at most so many of a shape. */
export const list = (shape, most) => (value, place) => {
  if (!Array.isArray(value)) refuse(place, value, 'a list');
  if (value.length > most) throw new ShapeError(place, `${value.length} entries`, `at most ${most}`);
  return value.map((v, i) => shape(v, `${place}[${i}]`));
};

/** An object of these fields and no others; those of `optional` may be absent. */
export const object = (fields, optional = {}) => (value, place) => {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(place, value, 'an object');
  const at = (key) => (place === '' ? key : `${place}.${key}`);
  const known = { ...fields, ...optional };
  for (const key of Object.keys(value)) {
    if (!Object.hasOwn(known, key)) throw new ShapeError(at(shownKey(key)), shown(value[key]), `only ${Object.keys(known).join(', ')} there`);
  }
  const out = {};
  for (const [key, shape] of Object.entries(known)) {
    if (Object.hasOwn(value, key)) out[key] = shape(value[key], at(key));
    else if (Object.hasOwn(fields, key)) refuse(at(key), undefined, 'a value');
  }
  return out;
};

const shownKey = (key) => (/^[\w-]{1,40}$/.test(key) ? key : JSON.stringify(key.slice(0, 40)));
