// The interface of the npm package `carat-web` (ES module; everything heavy runs in a worker that the package starts itself).
export type Device = 'webgpu' | 'cpu';
export type Phase = 'header' | 'download' | 'read' | 'verify' | 'upload' | 'compile' | 'ready';
export interface Progress { phase: Phase; loaded: number; total: number; bytesPerSecond: number; secondsLeft: number | null; fromCache: boolean }
export interface LoadOptions {
  device?: 'auto' | Device;          // auto: the faster one by measurement, also in the middle of an answer; without an adapter the CPU
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
  sampling: Sampling;                // what holds where the options set nothing: the file's own advice, else the package's
}
export interface Sampling {
  temperature: number; topK: number; topP: number; minP: number; repeatPenalty: number;
  repeatLastN: number;               // tokens that the penalty looks back on
  dryMultiplier: number; dryBase: number; dryAllowedLength: number;   // against loops; a repeatPenalty that is set switches it off, unless dryMultiplier is set too
  dryPenaltyLastN: number;           // generated tokens that are searched for loops; 0 is none
  presencePenalty: number; frequencyPenalty: number;   // nats from the logits of generated tokens, once and as often as they came; 0 is off
  topNSigma: number;                 // standard deviations below the largest logit; 0 is off
  typicalP: number;                  // locally typical; 1 is off
  xtcProbability: number; xtcThreshold: number;         // a probability of 0 is off
  dynatempRange: number; dynatempExponent: number;      // a range of 0 is off
  mirostat: number; mirostatTau: number; mirostatEta: number;   // 2 is Mirostat 2.0 in place of the filters, 0 is off
  adaptiveTarget: number; adaptiveDecay: number;        // a target below 0 is off
  seed: string;                      // digits, below 2^64
}
export interface SamplingOptions extends Partial<Omit<Sampling, 'seed'>> {
  seed?: number | bigint | string;
  maxTokens?: number;                // default: to the end of the text, or of the context
  after?: number[];                  // ids of a result that 'length' or 'cancelled' ended: it goes on as if maxTokens had been this many from the start. The first piece has its text so far
  stop?: string[]; jsonSchema?: unknown; grammar?: string; signal?: AbortSignal;
}
export interface Piece { text: string; id: number | null; logitsHash: string }   // the hash over the logits so far
export interface Result { ids: number[]; text: string; reason: 'end' | 'length' | 'context' | 'stop' | 'complete' | 'cancelled'; logitsHash: string;
  sampling: Sampling;                // what held in the end
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
  readonly device: Device;                    // may change: see onDevice
  readonly context: number;                   // positions of the KV cache
  readonly storageKey: string | null;         // where the file is kept, for load and storage.remove; null where it is not
  readonly deviceReason: string | null;       // why auto took the CPU although there is an adapter, where that was known at loading
  /** moved: auto found the other device faster, or this one was lost; kept: auto measured both and stays; rebuilt: after a loss. */
  onDevice?: (device: Device, why: string, change: 'moved' | 'kept' | 'rebuilt') => void;
  tokenize(text: string, options?: { special?: boolean }): Promise<number[]>;
  detokenize(ids: number[]): Promise<string>;
  generate(prompt: string | number[], options?: SamplingOptions): Generation;   // fresh sequence; common prefix with the cache is reused
  chat(talk: Message[] | Conversation, options?: SamplingOptions): Generation;  // with the file's template
  saveSession(): Promise<Uint8Array>;         // tokens, keys and values, and the text that a limit ended last: it goes on here, on another device, or in carat run --session
  restoreSession(bytes: Uint8Array | ArrayBuffer): Promise<{ prompt: number[]; ids: number[] }>;   // then generate(prompt, { …the same options, after: ids })
  close(): Promise<void>;
}
export interface StoredModel { key: string; url: string | null; name: string; bytes: number; complete: boolean; storedBytes: number }
export const storage: { list(): Promise<StoredModel[]>; remove(key: string): Promise<void>; estimate(): Promise<{ usage: number; quota: number }> };
export const webgpu: { available(): Promise<boolean> };
