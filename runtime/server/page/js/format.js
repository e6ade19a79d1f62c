// Numbers as people read them.

const UNITS = ['bytes', 'KB', 'MB', 'GB', 'TB'];

/** 3181234 → '3.2 MB', in thousands, as stores and networks count. */
export function bytes(n) {
  let unit = 0;
  while (n >= 999.5 && unit < UNITS.length - 1) {
    n /= 1000;
    unit += 1;
  }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

/** 5770000 → '5.8 million', 1.2e9 → '1.2 billion'. */
export function many(n) {
  if (n >= 1e9) return `${(n / 1e9).toFixed(1)} billion`;
  if (n >= 1e6) return `${(n / 1e6).toFixed(1)} million`;
  return count(n);
}

/** 12345 → '12,345'. */
export const count = (n) => Math.round(n).toLocaleString('en');

/** 95 → '1 min 35 s'. */
export function duration(seconds) {
  const s = Math.max(0, Math.round(seconds));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

/** 431.2 → '431 ms', 1830 → '1.8 s'. */
export const milliseconds = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

/** 12.34 → '12.3'; 123.4 → '123'. */
export const rate = (n) => (n >= 100 ? String(Math.round(n)) : n.toFixed(1));

/** '1 token', '2 tokens'. */
export const plural = (n, noun) => `${count(n)} ${noun}${n === 1 ? '' : 's'}`;

/** What a quality card says, in a line for a list and one in full. */
export function quality(card) {
  if (!card) return null;
  const more = (card.perplexity / card.referencePerplexity - 1) * 100;
  return {
    short: `${(card.sameTop * 100).toFixed(1)} % same first choice as the original`,
    full:
      `Perplexity ${card.perplexity.toFixed(2)}, the original's ${card.referencePerplexity.toFixed(2)} ` +
      `(${more >= 0 ? '+' : '−'}${Math.abs(more).toFixed(1)} %). Divergence ${card.meanKl.toFixed(4)} nats on average, ` +
      `99 % below ${card.p99Kl.toFixed(3)}. Measured on ${plural(card.tokens, 'prediction')}.`,
  };
}
