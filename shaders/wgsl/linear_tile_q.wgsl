//#import fixed
//#import levels
//#import residual
// A matrix part times activations: one workgroup a tile of 32 rows, four rows a lane, SLICES lanes
// along the groups of a row. Sums are exact, so no split shows in the result.
// Grid: x = ceil(part_rows / 32), y = batch row.

// Lanes that share a row: a power of two in 1..=32.
override SLICES: u32 = 8u;

@group(0) @binding(0) var<uniform> params: Params;
// [R][act_stride]: codes [groups·8] | scales [ceil(groups/4)] | mantissa | exponent; the stride is a
// multiple of four words
@group(0) @binding(1) var<storage, read> act: array<vec4<u32>>;
// One part of the matrix: codes | scales | row scales.
@group(0) @binding(2) var<storage, read> weights: array<vec4<u32>>;
// [R][out_stride], the part's rows from row_start: the result, or the residual stream
@group(0) @binding(3) var<storage, read_write> h: array<i32>;
// saturations, largest magnitude
@group(0) @binding(4) var<storage, read_write> stats: array<atomic<u32>>;

// Sums of the tile's rows over the slices.
var<workgroup> low_sum: array<atomic<u32>, 32>;
var<workgroup> high_sum: array<atomic<i32>, 32>;

fn act_word(i: u32) -> u32 {
    return act[i >> 2u][i & 3u];
}

fn weight_word(i: u32) -> u32 {
    return weights[i >> 2u][i & 3u];
}

// 32 activations in 8 words, in the order of the codes.
struct Codes {
    a: vec4<u32>,
    b: vec4<u32>,
}

fn dot_words(w: vec4<u32>, x: vec4<u32>) -> i32 {
    return dot4I8Packed(w.x, x.x) + dot4I8Packed(w.y, x.y) + dot4I8Packed(w.z, x.z) + dot4I8Packed(w.w, x.w);
}

fn look_up4(t: Table, c: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(look_up(t, c.x), look_up(t, c.y), look_up(t, c.z), look_up(t, c.w));
}

fn dot_pow4(t: Table, p: vec4<u32>, x: Codes) -> i32 {
    return dot_words(look_up4(t, p), x.a) + dot_words(look_up4(t, p >> vec4<u32>(4u)), x.b);
}

// Plane of one bit of a row; the look-up ignores the other bits.
fn dot_plane1(t: Table, p: u32, x: Codes) -> i32 {
    let low = vec4<u32>(p, p >> 1u, p >> 2u, p >> 3u);
    return dot_words(look_up4(t, low), x.a) + dot_words(look_up4(t, low >> vec4<u32>(4u)), x.b);
}

// Plane of two bits of a row, and of its high bits (0 for two bits a code).
fn dot_planes(t: Table, p: vec2<u32>, high: u32, x: Codes) -> i32 {
    let low = vec4<u32>(p, p >> vec2<u32>(2u)) & vec4<u32>(0x03030303u);
    let low2 = vec4<u32>(p >> vec2<u32>(4u), p >> vec2<u32>(6u)) & vec4<u32>(0x03030303u);
    let h = (vec4<u32>(high, high >> 1u, high >> 2u, high >> 3u) & vec4<u32>(0x01010101u)) << vec4<u32>(2u);
    let h2 = (vec4<u32>(high >> 4u, high >> 5u, high >> 6u, high >> 7u) & vec4<u32>(0x01010101u)) << vec4<u32>(2u);
    return dot_words(look_up4(t, low | h), x.a) + dot_words(look_up4(t, low2 | h2), x.b);
}

// Ternary codes of a row: its word, its two bytes and its half byte.
fn dot_ternary(t: Table, word: u32, pair: u32, half: u32, x: Codes) -> i32 {
    let a = digits(word);
    let b = digits(a.rest);
    let c = digits(b.rest);
    let d = digits(c.rest);
    let e = digits(d.rest).codes;
    let first = ternary_pairs(pair);
    let second = after_two(first);
    let third = ternary_last(after_two(second), half);
    let last = vec4<u32>(e, digits(first).codes, digits(second).codes, digits(third).codes);
    return dot_words(look_up4(t, vec4<u32>(a.codes, b.codes, c.codes, d.codes)), x.a)
        + dot_words(look_up4(t, last), x.b);
}

// Sums of level·activation over one group of rows 4·lane .. 4·lane + 3 of the tile.
fn group_dots(t: Table, cell: u32, lane: u32, x: Codes) -> vec4<i32> {
    let base = cell * (cell_words() / 4u);
    if (CODES == 256u) {
        let at = base + lane * 8u;
        return vec4<i32>(
            dot_words(weights[at], x.a) + dot_words(weights[at + 1u], x.b),
            dot_words(weights[at + 2u], x.a) + dot_words(weights[at + 3u], x.b),
            dot_words(weights[at + 4u], x.a) + dot_words(weights[at + 5u], x.b),
            dot_words(weights[at + 6u], x.a) + dot_words(weights[at + 7u], x.b));
    }
    if (CODES == 16u) {
        let at = base + lane * 4u;
        return vec4<i32>(
            dot_pow4(t, weights[at], x),
            dot_pow4(t, weights[at + 1u], x),
            dot_pow4(t, weights[at + 2u], x),
            dot_pow4(t, weights[at + 3u], x));
    }
    if (CODES == 2u) {
        let p = weights[base + lane];
        return vec4<i32>(
            dot_plane1(t, p.x, x),
            dot_plane1(t, p.y, x),
            dot_plane1(t, p.z, x),
            dot_plane1(t, p.w, x));
    }
    if (CODES == 3u) {
        let p = weights[base + lane];
        let two = weights[base + 8u + (lane >> 1u)];
        let pairs = select(two.xy, two.zw, (lane & 1u) == 1u);
        let halves = weights[base + 12u][lane >> 1u] >> (16u * (lane & 1u));
        return vec4<i32>(
            dot_ternary(t, p.x, pairs.x, halves, x),
            dot_ternary(t, p.y, pairs.x >> 16u, halves >> 4u, x),
            dot_ternary(t, p.z, pairs.y, halves >> 8u, x),
            dot_ternary(t, p.w, pairs.y >> 16u, halves >> 12u, x));
    }
    let p = weights[base + lane * 2u];
    let q = weights[base + lane * 2u + 1u];
    var high = vec4<u32>();
    if (CODES == 8u) {
        high = weights[base + 16u + lane];
    }
    return vec4<i32>(
        dot_planes(t, p.xy, high.x, x),
        dot_planes(t, p.zw, high.y, x),
        dot_planes(t, q.xy, high.z, x),
        dot_planes(t, q.zw, high.w, x));
}

// The complete sum of row n of the part, rounded once and stored or added.
fn finish(n: u32, r: u32, low: u32, high: i32) {
    if (n >= params.part_rows) {
        return;
    }
    let rest = low - (bitcast<u32>(high) << 14u);
    let sum = add64(shl64(extend64(high), 14u), vec2<u32>(rest, 0u));
    let scale = weight_word(params.row_scales + n);
    let tail = r * params.act_stride + params.groups * 8u + (params.groups + 3u) / 4u;
    let unit = select(bitcast<i32>(act_word(tail + 1u)), 0, params.mode == STORE_RELATIVE);
    let shift = params.exponent - (bitcast<i32>(scale) >> 16u) - unit;
    let v = scale64(sum, (scale & 0xffffu) * act_word(tail), shift);
    let at = r * params.out_stride + params.row_start + n;
    if (params.mode == ACCUMULATE) {
        add_residual(at, v);
    } else {
        h[at] = v;
    }
}

@compute @workgroup_size(8, SLICES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_id) local: vec3<u32>) {
    let lane = local.x;
    let row = group.y * params.act_stride;
    let act_scales = row + params.groups * 8u;
    let table = table_of(params.table);
    var low = vec4<u32>();
    var high = vec4<i32>();
    for (var g = local.y; g < params.groups; g += SLICES) {
        let cell = group.x * params.groups + g;
        let a = row + g * 8u;
        let x = Codes(act[a >> 2u], act[(a >> 2u) + 1u]);
        let x_scale = (act_word(act_scales + (g >> 2u)) >> (8u * (g & 3u))) & 255u;
        let scale = scale_cell(group.x, params.groups, g, params.scale_shift);
        let scales = weight_word(params.scales + scale * 8u + lane);
        let w_scale = vec4<i32>((vec4<u32>(scales) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
        // One group of 32 at a time, whatever its scale's reach: |t| < 2^27; over 1,024 groups `high` stays under 2^31 and the low parts' sum under 2^32.
        let t = group_dots(table, cell, lane, x) * w_scale;
        low += bitcast<vec4<u32>>(t) * x_scale;
        high += (t >> vec4<u32>(14u)) * i32(x_scale);
    }
    let first = group.x * TILE_ROWS;
    if (SLICES == 1u) {
        for (var i = 0u; i < 4u; i++) {
            finish(first + lane * 4u + i, group.y, low[i], high[i]);
        }
        return;
    }
    for (var i = 0u; i < 4u; i++) {
        atomicAdd(&low_sum[lane * 4u + i], low[i]);
        atomicAdd(&high_sum[lane * 4u + i], high[i]);
    }
    workgroupBarrier();
    for (var i = local.y * 8u + lane; i < TILE_ROWS; i += 8u * SLICES) {
        finish(first + i, group.y, atomicLoad(&low_sum[i]), atomicLoad(&high_sum[i]));
    }
}
