// What the package's suites share: checks that are counted, and what a page's loads need.
import assert from "node:assert/strict";

let failed = 0;

/** One check, one line. */
export async function check(name, work) {
  const start = Date.now();
  try {
    const note = await work();
    console.log(`ok    ${name} (${Date.now() - start} ms)${note ? `: ${note}` : ""}`);
  } catch (e) {
    failed++;
    console.log(`FAIL  ${name}: ${e.stack ?? e}`);
  }
}

/** Counts a failure that is no check's. */
export const fail = () => failed++;

/** Ends the program: with 1 if a check failed. */
export function close() {
  console.log(failed ? `${failed} failed` : "all passed");
  process.exit(failed ? 1 : 0);
}

/** What a page's loads share. */
export function helpers() {
  globalThis.load = async (source, options = {}) => (globalThis.model = await carat.Carat.load(source, { context: 512, ...options }));
  globalThis.error = async (work) => {
    try {
      await work();
    } catch (e) {
      return e instanceof carat.CaratError ? e.code : `${e}`;
    }
    return "none";
  };
  globalThis.ask = (text, options) => model.generate(text, { maxTokens: 64, ...options }).result;
  /** What the tests' worker answers. */
  globalThis.worker = (question) =>
    new Promise((answer) => {
      const channel = new BroadcastChannel("carat-test");
      channel.onmessage = ({ data }) => {
        if (data[question] === undefined) return;
        answer(data[question]);
        channel.close();
      };
      channel.postMessage(question);
    });
}

/** One generation against the native engine's. */
export function same(result, native) {
  assert.deepEqual(result.ids, native.ids);
  assert.equal(result.logitsHash, native.hash);
}

