// An ONNX model of one MatMulNBits, written as protobuf: 2048 × 2048 at 4 bits in blocks of 32, as onnxruntime-web's own models.

export const SIZE = 2048;
const BLOCK = 32;

const varint = (n) => {
  const out = [];
  for (; n > 127; n = Math.floor(n / 128)) out.push((n % 128) | 128);
  return Uint8Array.from([...out, n]);
};
const join = (...parts) => {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const p of parts) (out.set(p, at), (at += p.length));
  return out;
};
const int = (field, n) => join(varint(field * 8), varint(n));
const bytes = (field, data) => {
  const content = typeof data === "string" ? new TextEncoder().encode(data) : data;
  return join(varint(field * 8 + 2), varint(content.length), content);
};
const FLOAT = 1;
const UINT8 = 2;
const tensor = (name, type, dims, data) => bytes(5, join(...dims.map((d) => int(1, d)), int(2, type), bytes(8, name), bytes(9, data)));
const value = (field, name) => {
  const dims = [1, 1, SIZE].map((d) => bytes(1, int(1, d)));
  return bytes(field, join(bytes(1, name), bytes(2, bytes(1, join(int(1, FLOAT), bytes(2, join(...dims)))))));
};
const attribute = (name, n) => bytes(5, join(bytes(1, name), int(3, n), int(20, 2)));

/** The model; `accuracy` 4 lets it compute in 8-bit activations. Codes, scales, input and the product in f32 are given too. */
export function product(accuracy) {
  let state = 1;
  const random = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  const codes = Uint8Array.from({ length: SIZE * SIZE }, () => Math.floor(random() * 16));
  const scales = Float32Array.from({ length: (SIZE * SIZE) / BLOCK }, () => 0.001 + 0.02 * random());
  const input = Float32Array.from({ length: SIZE }, () => random() - 0.5);
  const packed = new Uint8Array(codes.length / 2).map((_, i) => codes[2 * i] | (codes[2 * i + 1] << 4));
  const output = new Float32Array(SIZE).map((_, row) => {
    let sum = 0;
    for (let c = 0; c < SIZE; c++) sum += (codes[row * SIZE + c] - 8) * scales[(row * SIZE + c) >> 5] * input[c];
    return sum;
  });
  const attributes = [["K", SIZE], ["N", SIZE], ["bits", 4], ["block_size", BLOCK], ["accuracy_level", accuracy]].map(([n, v]) => attribute(n, v));
  const node = bytes(1, join(bytes(1, "A"), bytes(1, "B"), bytes(1, "S"), bytes(2, "Y"), bytes(4, "MatMulNBits"), ...attributes, bytes(7, "com.microsoft")));
  const weights = tensor("B", UINT8, [SIZE, SIZE / BLOCK, BLOCK / 2], packed);
  const sizes = tensor("S", FLOAT, [scales.length], new Uint8Array(scales.buffer));
  const graph = bytes(7, join(node, bytes(2, "product"), weights, sizes, value(11, "A"), value(12, "Y")));
  const opset = (domain, version) => bytes(8, join(domain ? bytes(1, domain) : new Uint8Array(0), int(2, version)));
  return { model: join(int(1, 8), graph, opset("", 17), opset("com.microsoft", 1)), input, output };
}
