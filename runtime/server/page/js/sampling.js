// How tokens are chosen: what the settings say, and where they are silent what the package says of the model that is open.

/** Tokens of a passage that continues a text, which has no turns that end, where the settings say nothing. */
export const PASSAGE = 160;

/**
 * Every setting of sampling. `key` is the package's name, `flag` the command line's; a range is what a form takes. Their
 * defaults are the package's: an empty field takes them.
 */
export const FIELDS = [
  { key: 'temperature', flag: '--temp', label: 'Temperature', min: 0, max: 2, step: 0.05, slider: true, help: '0 always takes the likeliest token; higher values surprise more.' },
  { key: 'topK', flag: '--top-k', label: 'Top-k', min: 0, max: 1000, step: 1, help: 'Chooses among so many of the likeliest tokens; 0 is all.' },
  { key: 'topP', flag: '--top-p', label: 'Top-p', min: 0, max: 1, step: 0.01, slider: true, help: 'Chooses among the likeliest tokens that together reach this share; 1 is all.' },
  { key: 'minP', flag: '--min-p', label: 'Min-p', min: 0, max: 1, step: 0.01, slider: true, help: 'Leaves out tokens less likely than this share of the likeliest; 0 is none.' },
  { key: 'repeatPenalty', flag: '--repeat-penalty', label: 'Repetition penalty', min: 0.5, max: 2, step: 0.05, slider: true, help: 'Above 1 what was said lately becomes less likely; 1 is off.' },
  { key: 'repeatLastN', flag: '--repeat-last-n', label: 'Repetition penalty', unit: 'tokens', min: 0, max: 131072, step: 1, help: 'So many of the last tokens are what was said lately.' },
  { key: 'dryMultiplier', flag: '--dry-multiplier', label: 'DRY', unit: 'strength', min: 0, max: 5, step: 0.05, slider: true, help: 'Against loops: what came twice in a row becomes less likely; 0 is off, as it is where a repetition penalty is set.' },
  { key: 'dryBase', flag: '--dry-base', label: 'DRY', unit: 'growth', min: 1, max: 4, step: 0.05, help: 'The factor for each token by which a loop goes on.' },
  { key: 'dryAllowedLength', flag: '--dry-allowed-length', label: 'DRY', unit: 'tokens allowed', min: 1, max: 1000, step: 1, help: 'Tokens that a loop may repeat without an effect.' },
];

/** The fields that the package of this page knows, all of them before a model is open. */
export const fields = (info) => (info ? FIELDS.filter((f) => f.key in info.sampling) : FIELDS);

/** What to stop at: a text a line. */
const stops = (text) => text.split('\n').filter((line) => line !== '');

/** The seed of an answer's variant: the first takes the setting's, every other one the next. */
export const seedOf = (seed, variant) => (BigInt(seed) + BigInt(variant)) & 0xffff_ffff_ffff_ffffn;

/** The settings of one answer: what is set, the rest is the package's. `maxTokens` of null: to the end of the turn. */
export function of(settings, info, mode, variant) {
  const out = {};
  for (const { key } of fields(info)) if (settings[key] !== null) out[key] = settings[key];
  out.seed = seedOf(settings.seed ?? info.sampling.seed, variant);
  out.maxTokens = settings.maxTokens ?? (mode === 'chat' ? null : PASSAGE);
  out.stop = stops(settings.stop);
  return out;
}

/** The same once the package has said what held: a default of a later version may be another. */
export const held = (sampling, said) => ({ ...sampling, ...Object.fromEntries(FIELDS.filter((f) => f.key in said).map((f) => [f.key, said[f.key]])) });

/** The same as the package takes it. */
export const asked = ({ maxTokens, ...rest }) => ({ ...rest, ...(maxTokens === null ? {} : { maxTokens }) });

/** The flags that say the same to the command line. `quoted` makes a text a word of the shell. */
export const flags = (sampling, quoted) => [
  ...FIELDS.filter((f) => f.key in sampling).map((f) => `${f.flag} ${sampling[f.key]}`),
  `--seed ${sampling.seed}`,
  ...sampling.stop.map((s) => `--stop ${quoted(s)}`),
];
