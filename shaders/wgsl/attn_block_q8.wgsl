//#import fixed
//#import score
//#import softcap
// Attention of one head, row and block of 256 positions: one workgroup each; four positions a lane for
// the scores, then four dimensions a lane for the sums.
// Grid: x = heads, y = batch row, z = block.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [sequences][table_stride]: page of each block of 256 positions
@group(0) @binding(2) var<storage, read> page_table: array<u32>;
// [R][heads][high plane: head_words | low plane: head_words | exponent]
@group(0) @binding(3) var<storage, read> query: array<u32>;
// [pages][kv heads][keys: 256·head_words | values: 256·head_words | scales: 256·groups]
@group(0) @binding(4) var<storage, read> cache: array<u32>;
// [R][heads][max_blocks][sums: 4·head_words | sum of p | largest score | value exponents: groups]
@group(0) @binding(5) var<storage, read_write> partial: array<u32>;

// Largest score and exponents are biased so that zero, the initial value, is the least.
const BIAS: u32 = 0x80000000u;
var<workgroup> score_max: atomic<u32>;
var<workgroup> probability_sum: atomic<u32>;
// A head has at most 8 groups.
var<workgroup> exponent_max: array<atomic<u32>, 8>;
// p' of [position][group], 16 bits.
var<workgroup> weight_of: array<i32, 2048>;
// A head has at most 256 dimensions.
var<workgroup> sums: array<atomic<i32>, 256>;

// Score of the key at word `at` with its scales at word `scales`.
fn score_of(query_at: u32, at: u32, scales: u32) -> i32 {
    let words = params.head_words;
    let exponent = bitcast<i32>(query[query_at + 2u * words]);
    var sum = 0;
    for (var g = 0u; g < params.groups; g++) {
        var d = 0;
        for (var w = g * 8u; w < min(g * 8u + 8u, words); w++) {
            let key = cache[at + w];
            d += 32 * dot4I8Packed(query[query_at + w], key) + dot4I8Packed(query[query_at + words + w], key);
        }
        let scale = cache[scales + g];
        let key_exponent = extractBits(bitcast<i32>(scale), 8u, 8u);
        let shift = -(i32(SCORE_BITS) + exponent + key_exponent);
        let share = requant64(mul_su(d, scale & 255u), shift);
        sum += clamp(share, -SCORE_GROUP_MAX, SCORE_GROUP_MAX);
    }
    let score = clamp(sum, -SCORE_MAX, SCORE_MAX);
    if (params.cap_mantissa == 0u) {
        return score;
    }
    return softcap(score, params.cap_mantissa, params.cap_shift, params.rate_mantissa, params.rate_shift);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let position = row_table[group.y * ROW_WORDS + 1u];
    let sequence = row_table[group.y * ROW_WORDS + 2u];
    let block = group.z;
    let oldest = oldest_seen(position, params.window);
    if (block > position / PAGE || block < oldest / PAGE) {
        return;
    }
    let visible = min(position - block * PAGE + 1u, PAGE);
    let start = max(oldest, block * PAGE) - block * PAGE;
    // t - start wraps for t < start, so one comparison tells both bounds.
    let count = visible - start;
    let words = params.head_words;
    let groups = params.groups;
    let page = page_table[sequence * params.table_stride + block];
    let kv_heads = params.heads / params.heads_per_kv;
    let keys = (page * kv_heads + group.x / params.heads_per_kv) * (PAGE * (2u * words + groups));
    let values = keys + PAGE * words;
    let scales = values + PAGE * words;
    let index = group.y * params.heads + group.x;
    let query_at = index * (2u * words + 1u);

    var scores = vec4<i32>();
    for (var i = 0u; i < 4u; i++) {
        let t = lid + 64u * i;
        if (t - start < count) {
            scores[i] = score_of(query_at, keys + t * words, scales + t * groups);
            atomicMax(&score_max, bitcast<u32>(scores[i]) ^ BIAS);
            for (var g = 0u; g < groups; g++) {
                let e = extractBits(bitcast<i32>(cache[scales + t * groups + g]), 24u, 8u);
                atomicMax(&exponent_max[g], u32(e + 128));
            }
        }
    }
    workgroupBarrier();

    let most = bitcast<i32>(atomicLoad(&score_max) ^ BIAS);
    for (var i = 0u; i < 4u; i++) {
        let t = lid + 64u * i;
        if (t - start < count) {
            // p in Q15: at most 2^15, and the sum over 256 positions at most 2^23.
            let p = (exp2_neg_q30(score_distance(most, scores[i])) + (1u << 14u)) >> 15u;
            atomicAdd(&probability_sum, p);
            for (var g = 0u; g < groups; g++) {
                let scale = bitcast<i32>(cache[scales + t * groups + g]);
                let e = extractBits(scale, 24u, 8u);
                let shift = VALUE_SHIFT + atomicLoad(&exponent_max[g]) - u32(e + 128);
                let product = p * bitcast<u32>(extractBits(scale, 16u, 8u) & 255);
                // product < 2^23: the sum fits.
                var w = 0u;
                if (shift <= 31u) {
                    w = (product + (1u << (shift - 1u))) >> shift;
                }
                weight_of[t * groups + g] = i32(w);
            }
        }
    }
    workgroupBarrier();

    // A lane sums four dimensions over every `slices`-th position; p' <= 65,280, so 256 of them
    // times 127 stay under 2^31.
    let slices = 64u / words;
    let word = lid % words;
    let slice = lid / words;
    if (slice < slices) {
        var sum = vec4<i32>();
        for (var t = start + slice; t < visible; t += slices) {
            sum += weight_of[t * groups + word / 8u] * unpack4xI8(cache[values + t * words + word]);
        }
        for (var b = 0u; b < 4u; b++) {
            atomicAdd(&sums[word * 4u + b], sum[b]);
        }
    }
    workgroupBarrier();

    let dims = 4u * words;
    let out = (index * params.max_blocks + block) * (dims + 2u + groups);
    for (var d = lid; d < dims; d += 64u) {
        partial[out + d] = bitcast<u32>(atomicLoad(&sums[d]));
    }
    if (lid == 0u) {
        partial[out + dims] = atomicLoad(&probability_sum);
        partial[out + dims + 1u] = bitcast<u32>(most);
    }
    if (lid < groups) {
        partial[out + dims + 2u + lid] = bitcast<u32>(i32(atomicLoad(&exponent_max[lid])) - 128);
    }
}
