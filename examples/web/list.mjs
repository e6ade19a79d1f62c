// models.json from what `carat inspect --json` says of the bundled model; its card is the file's own.
//
//   carat inspect FILE --json | node list.mjs models/FILE [MORE.json] > models.json
//
// MORE.json has further entries, `{ "models": […] }`.

import { readFileSync } from 'node:fs';

const said = JSON.parse(readFileSync(0, 'utf8'));
const { card } = said;
const model = {
  name: said.name,
  url: process.argv[2],
  bytes: said.bytes,
  parameters: said.weights,
  card: card && {
    // The package counts what was predicted, not what was read.
    tokens: card.predictions,
    perplexity: card.ppl,
    referencePerplexity: card.reference_ppl,
    meanKl: card.kl_mean,
    p99Kl: card.kl_p99,
    sameTop: card.top1,
    text: card.text,
  },
  mode: 'continue',
  note: 'facet-6m is small and knows classic English novels only: it continues a story. It does not answer questions.',
  starters: [
    'It was late in the evening when the stranger came to the door of the inn.',
    'The old house had been empty for many years, and nobody in the village could say',
    '“I have a secret to tell you,” said the captain, and he',
  ],
};
const more = process.argv[3] ? JSON.parse(readFileSync(process.argv[3], 'utf8')).models : [];
process.stdout.write(`${JSON.stringify({ models: [model, ...more] }, null, 2)}\n`);
