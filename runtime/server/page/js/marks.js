// Moments for whoever measures.

/** Marks one; the first of its name counts. */
export function mark(name) {
  if (performance.getEntriesByName(name).length === 0) performance.mark(name);
}
