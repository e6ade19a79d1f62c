// The interface of the npm package `carat-web` (ES module; everything heavy runs in a worker that the package starts itself).
export type Device = 'webgpu' | 'cpu';
export type Phase = 'header' | 'download' | 'verify' | 'upload' | 'compile' | 'ready';
export interface Progress { phase: Phase; loaded: number; total: number; bytesPerSecond: number; secondsLeft: number | null; fromCache: boolean }
export interface LoadOptions {
  device?: 'auto' | Device;          // auto: WebGPU if there is an adapter (a file up to 64 MiB: if it is also the faster one), else the CPU executor
  context?: number;                  // positions of the KV cache
  cache?: 'opfs' | 'none';           // default opfs
  signal?: AbortSignal;
  onProgress?: (p: Progress) => void;
  worker?: Worker | URL | string;    // to replace the worker script
}
export interface Card { tokens: number; perplexity: number; referencePerplexity: number; meanKl: number; p99Kl: number; sameTop: number; text?: string }
export interface ModelInfo {
  name: string; architecture: string; parameters: number; bytes: number; bitsPerWeight: number;
  contextLength: number; vocabSize: number; card: Card | null; hasTemplate: boolean;
}
export interface SamplingOptions { temperature?: number; topK?: number; topP?: number; minP?: number; repeatPenalty?: number; dryMultiplier?: number; dryBase?: number; dryAllowedLength?: number; seed?: number | bigint; maxTokens?: number; stop?: string[]; jsonSchema?: unknown; grammar?: string; signal?: AbortSignal }
export interface Piece { text: string; id: number | null; logitsHash: string }   // the hash over the logits so far
export interface Result { ids: number[]; text: string; reason: 'end' | 'length' | 'context' | 'stop' | 'complete' | 'cancelled'; logitsHash: string;
  complete: boolean | null;          // under a JSON schema or grammar: whether the text is whole
  promptTokens: number; generatedTokens: number; msToFirstToken: number; tokensPerSecond: number; device: Device }
export interface Generation extends AsyncIterable<Piece> { readonly result: Promise<Result> }   // breaking out of the loop cancels
export interface Message { role: string; content?: unknown; [field: string]: unknown }   // a text, parts or null; names, tool calls … reach the template
export interface Conversation {      // as a file of `carat template` and `carat run --messages`
  messages: Message[]; tools?: unknown[] | null; add_generation_prompt?: boolean;
  date?: string;                     // what the template is told of the day
  chat_template?: string;            // the name of one of the model's templates
  [variable: string]: unknown;       // variables of the template, as enable_thinking; one that it does not read is refused
}
export type ErrorCode = 'network' | 'hash' | 'format' | 'webgpu' | 'device-lost' | 'aborted' | 'memory' | 'context' | 'parameter' | 'template' | 'storage' | 'internal';
export class CaratError extends Error { readonly code: ErrorCode; }
export class Carat {
  static load(source: string | URL | Blob, options?: LoadOptions): Promise<Carat>;
  readonly info: ModelInfo;
  readonly device: Device;                    // may change from cpu to webgpu when pipelines are ready, and after a loss
  readonly deviceReason: string | null;       // why auto took the CPU although there is an adapter, where that was known at loading
  onDevice?: (device: Device, why: string) => void;   // also where auto stays on the CPU, which is faster there: the same device, and why
  tokenize(text: string, options?: { special?: boolean }): Promise<number[]>;
  detokenize(ids: number[]): Promise<string>;
  generate(prompt: string | number[], options?: SamplingOptions): Generation;   // fresh sequence; common prefix with the cache is reused
  chat(talk: Message[] | Conversation, options?: SamplingOptions): Generation;  // with the file's template
  close(): Promise<void>;
}
export interface StoredModel { key: string; url: string | null; name: string; bytes: number; complete: boolean; storedBytes: number }
export const storage: { list(): Promise<StoredModel[]>; remove(key: string): Promise<void>; estimate(): Promise<{ usage: number; quota: number }> };
export const webgpu: { available(): Promise<boolean> };
