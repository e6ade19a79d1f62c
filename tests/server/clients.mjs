// Clients of npm against a server: CARAT_URL, CARAT_KEY, CARAT_MODEL say where. One line for each check: "ok NAME", "SKIP NAME: why" or "FAIL NAME: why". clients.py runs this.

import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateObject, generateText, streamText, tool, embedMany } from 'ai';
import OpenAI from 'openai';
import { z } from 'zod';

const { CARAT_URL, CARAT_KEY, CARAT_MODEL } = process.env;
const baseURL = `${CARAT_URL}/v1`;
const prompt = 'Tell me a story of a cat and a king.';
const messages = [{ role: 'user', content: prompt }];
const openai = new OpenAI({ baseURL, apiKey: CARAT_KEY, maxRetries: 0 });
const provider = createOpenAICompatible({ name: 'carat', baseURL, apiKey: CARAT_KEY, supportsStructuredOutputs: true, includeUsage: true });
const model = provider(CARAT_MODEL);
const greedy = { model, prompt, temperature: 0, maxOutputTokens: 10, maxRetries: 0 };

let failed = 0;
const one = (text) => String(text).replace(/\s+/g, ' ').slice(0, 600);

async function check(name, body) {
  try {
    const skipped = await body();
    console.log(skipped ? `SKIP ${name}: ${skipped}` : `ok ${name}`);
  } catch (error) {
    failed += 1;
    console.log(`FAIL ${name}: ${one(error?.message ?? error)}`);
  }
}

function equal(found, expected, what) {
  if (found !== expected) throw new Error(`${what}: found ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
}

let text = '';

await check('openai chat', async () => {
  const a = await openai.chat.completions.create({ model: CARAT_MODEL, messages, max_tokens: 10, temperature: 0 });
  text = a.choices[0].message.content;
  equal(a.choices[0].finish_reason, 'length', 'finish_reason');
  equal(a.usage.total_tokens, a.usage.prompt_tokens + 10, 'sum of tokens');
});

await check('openai stream', async () => {
  const runner = openai.chat.completions.stream({ model: CARAT_MODEL, messages, max_tokens: 10, temperature: 0 });
  let all = '';
  runner.on('content', (delta) => (all += delta));
  const done = await runner.finalChatCompletion();
  equal(all, text, 'text piece by piece');
  equal(done.choices[0].message.content, text, 'text at the end');
});

await check('openai responses', async () => {
  const asked = { model: CARAT_MODEL, input: prompt, max_output_tokens: 10, temperature: 0 };
  const a = await openai.responses.create(asked);
  equal(a.output_text, text, 'text');
  let all = '';
  let last = null;
  for await (const event of await openai.responses.create({ ...asked, stream: true })) {
    if (event.type === 'response.output_text.delta') all += event.delta;
    last = event;
  }
  equal(all, text, 'text piece by piece');
  equal(last.type, 'response.incomplete', 'last event');
  equal(last.response.logits_hash, a.logits_hash, 'hash');
});

await check('openai errors', async () => {
  const wrong = openai.chat.completions.create({ model: CARAT_MODEL, messages: [] });
  const error = await wrong.then(() => null, (e) => e);
  equal(error?.status, 400, 'status');
  equal(error.param, 'messages', 'param');
});

await check('openai a client that goes away', async () => {
  const stream = await openai.chat.completions.create({ model: CARAT_MODEL, messages, max_tokens: 2000, temperature: 1, stream: true, ignore_eos: true });
  for await (const _ of stream) break;
  stream.controller.abort();
  // What it left behind does not hold up the next.
  const start = performance.now();
  await openai.chat.completions.create({ model: CARAT_MODEL, messages, max_tokens: 2, temperature: 0 });
  const ms = performance.now() - start;
  if (ms > 5000) throw new Error(`the next answer took ${Math.round(ms)} ms`);
});

await check('ai generateText', async () => {
  const a = await generateText(greedy);
  equal(a.text, text, 'text');
  equal(a.finishReason, 'length', 'finishReason');
  equal(a.usage.outputTokens, 10, 'tokens');
});

await check('ai streamText', async () => {
  const a = streamText(greedy);
  let all = '';
  for await (const piece of a.textStream) all += piece;
  equal(all, text, 'text piece by piece');
  equal(await a.finishReason, 'length', 'finishReason');
  equal((await a.usage).outputTokens, 10, 'tokens');
});

await check('ai generateObject', async () => {
  const schema = z.object({ name: z.string().max(20), capital: z.boolean() });
  const a = await generateObject({ ...greedy, maxOutputTokens: 200, schema });
  equal(typeof a.object.capital, 'boolean', 'type of a field');
});

await check('ai embedMany', async () => {
  const a = await embedMany({ model: provider.textEmbeddingModel(CARAT_MODEL), values: ['a cat', 'the stock market'], maxRetries: 0 });
  equal(a.embeddings.length, 2, 'vectors');
});

await check('ai tools', async () => {
  const add = tool({ description: 'Adds two numbers.', inputSchema: z.object({ a: z.number().int().min(0).max(9), b: z.number().int().min(0).max(9) }), execute: async ({ a, b }) => a + b });
  const a = await generateText({ ...greedy, maxOutputTokens: 200, tools: { add }, toolChoice: 'required', providerOptions: { carat: { parallel_tool_calls: false } } });
  equal(a.finishReason, 'tool-calls', 'finishReason');
  equal(a.toolCalls[0].toolName, 'add', 'tool');
  equal(a.toolResults[0].output, a.toolCalls[0].input.a + a.toolCalls[0].input.b, 'result');
});

process.exit(failed === 0 ? 0 : 1);
