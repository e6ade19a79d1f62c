//#import lanes
//#import fixed
//#import kv
//#import narrow
//#import dot
//#import score
//#import softcap
// Attention of one head, row and block of 256 positions: one workgroup each; some positions a lane for the scores, then
// four dimensions of some positions a lane for the sums.
// Grid: x = heads, y = batch row, z = block.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [sequences][table_stride]: page of each block of 256 positions
@group(0) @binding(2) var<storage, read> page_table: array<u32>;
// [R][heads][high plane: head_words | low plane: head_words | exponent]
@group(0) @binding(3) var<storage, read> query: array<u32>;
// [pages][kv heads][a head's page]
@group(0) @binding(4) var<storage, read> cache: array<u32>;
// [R][heads][max_blocks][sums: 4·head_words | sum of p | largest score | value exponents: groups]
@group(0) @binding(5) var<storage, read_write> partial: array<u32>;

// Largest score and exponents are biased so that zero, the initial value, is the least.
const BIAS: u32 = 0x80000000u;
var<workgroup> score_max: atomic<u32>;
var<workgroup> probability_sum: atomic<u32>;
// A head has at most 8 groups.
var<workgroup> exponent_max: array<atomic<u32>, 8>;
// Of each position; read by its lane alone.
var<workgroup> scores: array<i32, 256>;
// p' of [position][group], 16 bits.
var<workgroup> weight_of: array<i32, 2048>;
// A head has at most 256 dimensions.
var<workgroup> sums: array<atomic<i32>, 256>;

// Words i to i + 3 of `count` of the query from word `at` on; zeros behind them.
fn query_words(at: u32, i: u32, count: u32) -> vec4<u32> {
    let n = vec4<u32>(i) + vec4<u32>(0u, 1u, 2u, 3u);
    let w = vec4<u32>(query[at + n.x], query[at + n.y], query[at + n.z], query[at + n.w]);
    return select(vec4<u32>(), w, n < vec4<u32>(count));
}

fn key_words(at: u32) -> vec4<u32> {
    return vec4<u32>(cache[at], cache[at + 1u], cache[at + 2u], cache[at + 3u]);
}

// The 32 levels of a group.
struct Levels {
    low: vec4<u32>,
    high: vec4<u32>,
}

fn four_levels(w: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(narrow_levels(w.x), narrow_levels(w.y), narrow_levels(w.z), narrow_levels(w.w));
}

// Group g of the key of position t; `keys` is where the keys of its page begin.
fn key_group(keys: u32, t: u32, g: u32) -> Levels {
    let at = keys + t * kv_keys_words();
    if (has_narrow(NARROW_KEYS)) {
        let codes = key_words(at + g * 4u);
        return Levels(four_levels(codes), four_levels(codes >> vec4<u32>(4u)));
    }
    return Levels(key_words(at + g * 8u), key_words(at + g * 8u + 4u));
}

// Dimensions 4·word to 4·word + 3 of the value of position t.
fn value_levels(values: u32, t: u32, word: u32) -> vec4<i32> {
    let at = values + t * kv_values_words();
    if (has_narrow(NARROW_VALUES)) {
        let codes = cache[at + word / 8u * 4u + word % 4u];
        return unpack4xI8(narrow_levels(codes >> (word & 4u)));
    }
    return unpack4xI8(cache[at + word]);
}

// Adds the shares of group g to the scores of the lane's positions first, first + LANES and so on up to `visible`.
fn add_shares(query_at: u32, keys: u32, scales: u32, g: u32, first: u32, visible: u32) {
    let words = params.head_words;
    let exponent = bitcast<i32>(query[query_at + 2u * words]);
    // A group of fewer than 8 words meets the words behind it with zeros.
    let count = min(8u, words - g * 8u);
    let high = query_at + g * 8u;
    let h0 = query_words(high, 0u, count);
    let h1 = query_words(high, 4u, count);
    let l0 = query_words(high + words, 0u, count);
    let l1 = query_words(high + words, 4u, count);
    for (var t = first; t < visible; t += LANES) {
        let key = key_group(keys, t, g);
        let k0 = key.low;
        let k1 = key.high;
        let d = 32 * (dot_words(h0, k0) + dot_words(h1, k1)) + dot_words(l0, k0) + dot_words(l1, k1);
        let scale = cache[scales + t * params.groups + g];
        let shift = -(i32(SCORE_BITS) + exponent + extractBits(bitcast<i32>(scale), 8u, 8u));
        let share = requant64(mul_su(d, scale & 255u), shift);
        scores[t] += clamp(share, -SCORE_GROUP_MAX, SCORE_GROUP_MAX);
    }
}

// A score cut off and capped.
fn limited(sum: i32) -> i32 {
    let score = clamp(sum, -SCORE_MAX, SCORE_MAX);
    if (params.cap_mantissa == 0u) {
        return score;
    }
    return softcap(score, params.cap_mantissa, params.cap_shift, params.rate_mantissa, params.rate_shift);
}

// Biased exponent of the values in a scale.
fn value_exponent(scale: u32) -> u32 {
    return u32(extractBits(bitcast<i32>(scale), 24u, 8u) + 128);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let position = row_table[group.y * ROW_WORDS + 1u];
    let sequence = row_table[group.y * ROW_WORDS + 2u];
    let block = group.z;
    let oldest = oldest_seen(position, params.window);
    let is_seen = block <= position / PAGE && block >= oldest / PAGE;
    // What a lane has not to do are loops over nothing, and a block that is not seen has no positions.
    let visible = select(0u, min(position - block * PAGE + 1u, PAGE), is_seen);
    let start = select(0u, max(oldest, block * PAGE) - block * PAGE, is_seen);
    let words = params.head_words;
    let groups = params.groups;
    let page = page_table[sequence * params.table_stride + min(block, position / PAGE)];
    let kv_heads = params.heads / params.heads_per_kv;
    let cells = (page * kv_heads + group.x / params.heads_per_kv) * kv_head();
    let keys = cells + kv_keys();
    let values = cells + kv_values();
    let scales = cells + kv_scales();
    let index = group.y * params.heads + group.x;
    let query_at = index * (2u * words + 1u);

    let first = start + ((lid - start) & (LANES - 1u));
    let lane_groups = select(0u, groups, first < visible);
    for (var g = 0u; g < lane_groups; g++) {
        add_shares(query_at, keys, scales, g, first, visible);
    }
    var lane_max = 0u;
    for (var t = first; t < visible; t += LANES) {
        scores[t] = limited(scores[t]);
        lane_max = max(lane_max, bitcast<u32>(scores[t]) ^ BIAS);
    }
    atomicMax(&score_max, lane_max);
    for (var g = 0u; g < lane_groups; g++) {
        var most = 0u;
        for (var t = first; t < visible; t += LANES) {
            most = max(most, value_exponent(cache[scales + t * groups + g]));
        }
        atomicMax(&exponent_max[g], most);
    }
    workgroupBarrier();

    let most = bitcast<i32>(atomicLoad(&score_max) ^ BIAS);
    var lane_sum = 0u;
    for (var t = first; t < visible; t += LANES) {
        // p in Q15: at most 2^15, and the sum over 256 positions at most 2^23.
        let p = (exp2_neg_q30(score_distance(most, scores[t])) + (1u << 14u)) >> 15u;
        lane_sum += p;
        for (var g = 0u; g < groups; g++) {
            let scale = cache[scales + t * groups + g];
            let shift = VALUE_SHIFT + atomicLoad(&exponent_max[g]) - value_exponent(scale);
            let product = p * extractBits(scale, 16u, 8u);
            // product < 2^23: the sum fits.
            var w = 0u;
            if (shift <= 31u) {
                w = (product + (1u << (shift - 1u))) >> shift;
            }
            weight_of[t * groups + g] = i32(w);
        }
    }
    atomicAdd(&probability_sum, lane_sum);
    workgroupBarrier();

    // An item is four dimensions over every `slices`-th position; p' <= 65,280, so 256 of them times 127 stay under 2^31.
    let slices = max(1u, LANES / words);
    for (var item = lid; item < slices * words; item += LANES) {
        let word = item % words;
        var sum = vec4<i32>();
        for (var t = start + item / words; t < visible; t += slices) {
            sum += weight_of[t * groups + word / 8u] * value_levels(values, t, word);
        }
        atomicAdd(&sums[word * 4u], sum.x);
        atomicAdd(&sums[word * 4u + 1u], sum.y);
        atomicAdd(&sums[word * 4u + 2u], sum.z);
        atomicAdd(&sums[word * 4u + 3u], sum.w);
    }
    workgroupBarrier();

    let dims = 4u * words;
    let out = (index * params.max_blocks + block) * (dims + 2u + groups);
    for (var d = lid; d < select(0u, dims, is_seen); d += LANES) {
        partial[out + d] = bitcast<u32>(atomicLoad(&sums[d]));
    }
    for (var i = lid; i < select(0u, 1u, is_seen); i += LANES) {
        partial[out + dims] = atomicLoad(&probability_sum);
        partial[out + dims + 1u] = bitcast<u32>(most);
    }
    for (var g = lid; g < select(0u, groups, is_seen); g += LANES) {
        partial[out + dims + 2u + g] = bitcast<u32>(i32(atomicLoad(&exponent_max[g])) - 128);
    }
}
