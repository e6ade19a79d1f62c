// Products of tiles of 32 rows with activations, four rows a lane: what the kernels of products share. A kernel supplies
// `quad(m, i)`, words 4i to 4i + 3 of its matrix `m`, and binds the activations as `act`.
// Definition: src/reference/linear_tile_q.rs.

// Lanes that share a row: a power of two in 1..=32.
override SLICES: u32 = 8u;
// Rows of the batch for which a workgroup decodes its weights once: 1, 2 or 4.
override ROWS: u32 = 1u;

// What is added to levels: 0, or 128, with which they have no sign and the activations' sum corrects their products.
// For devices without a dot of bytes that multiply what has no sign and add it in one instruction.
override BIAS: u32 = 0u;

// Entries of the tables in workgroup memory that give the levels of two codes of four bits: 256 for each table of a
// workgroup, or 1 where levels are computed by logic.
override PAIRS: u32 = 1u;

// The level of the low code in byte 0, that of the high one in byte 2.
var<workgroup> pairs: array<u32, PAIRS>;

// 32 bytes in 8 words, in the order of the codes; or what a row's codes are packed in, from the first word on.
struct Codes {
    a: vec4<u32>,
    b: vec4<u32>,
}

// The same of four rows.
struct Four {
    w: Codes,
    x: Codes,
    y: Codes,
    z: Codes,
}

// Activations of a group of up to four rows of the batch, their scales, and what the levels' bias adds to their products.
struct Inputs {
    x0: Codes,
    x1: Codes,
    x2: Codes,
    x3: Codes,
    scales: vec4<u32>,
    bias: vec4<i32>,
}

// Sums of four rows of a matrix.
struct Sums {
    low: vec4<u32>,
    high: vec4<i32>,
}

// Those with up to four rows of the batch.
struct Products {
    s0: Sums,
    s1: Sums,
    s2: Sums,
    s3: Sums,
}

fn act_word(i: u32) -> u32 {
    return act[i >> 2u][i & 3u];
}

fn word(m: u32, i: u32) -> u32 {
    return quad(m, i >> 2u)[i & 3u];
}

// The table of levels, or levels, with their bias.
fn biased(words: vec4<u32>) -> vec4<u32> {
    return words ^ vec4<u32>(BIAS * 0x01010101u);
}

// Four products of a byte without sign and a byte, added: under 2^17, 2^20 over a group.
fn dot_biased(w: u32, x: u32) -> i32 {
    let a = bitcast<i32>(x);
    return i32(w & 255u) * extractBits(a, 0u, 8u)
        + i32((w >> 8u) & 255u) * extractBits(a, 8u, 8u)
        + i32((w >> 16u) & 255u) * extractBits(a, 16u, 8u)
        + i32(w >> 24u) * extractBits(a, 24u, 8u);
}

fn dot_quads(w: vec4<u32>, x: vec4<u32>) -> i32 {
    if (BIAS > 0u) {
        return dot_biased(w.x, x.x) + dot_biased(w.y, x.y) + dot_biased(w.z, x.z) + dot_biased(w.w, x.w);
    }
    return dot_words(w, x);
}

fn dot_codes(w: Codes, x: Codes) -> i32 {
    return dot_quads(w.a, x.a) + dot_quads(w.b, x.b);
}

// One row's levels times the activations of each row of the batch.
fn row_dots(w: Codes, x: Inputs) -> vec4<i32> {
    var d = vec4<i32>(dot_codes(w, x.x0), 0, 0, 0);
    if (ROWS > 1u) {
        d.y = dot_codes(w, x.x1);
    }
    if (ROWS > 2u) {
        d.z = dot_codes(w, x.x2);
        d.w = dot_codes(w, x.x3);
    }
    return d - x.bias;
}

fn look_up4(t: Table, c: vec4<u32>) -> vec4<u32> {
    return vec4<u32>(look_up(t, c.x), look_up(t, c.y), look_up(t, c.z), look_up(t, c.w));
}

fn level_byte(words: vec4<u32>, code: u32) -> u32 {
    return (words[code >> 2u] >> (8u * (code & 3u))) & 255u;
}

// Fills the table of pairs from entry `first` on; all invocations call it together, and wait before they read it.
fn fill_pairs(words: vec4<u32>, first: u32, local: vec3<u32>) {
    let table = biased(words);
    for (var i = local.y * 8u + local.x; i < 256u; i += 8u * SLICES) {
        pairs[first + i] = level_byte(table, i & 15u) | (level_byte(table, i >> 4u) << 16u);
    }
}

// `look_up8` by the table of pairs from entry `first` on.
fn look_up_pairs(first: u32, codes: u32) -> vec2<u32> {
    let a = pairs[first + (codes & 255u)] | (pairs[first + ((codes >> 8u) & 255u)] << 8u);
    let b = pairs[first + ((codes >> 16u) & 255u)] | (pairs[first + (codes >> 24u)] << 8u);
    return vec2<u32>((a & 0xffffu) | (b << 16u), (a >> 16u) | (b & 0xffff0000u));
}

fn look_up_word(t: Halves, first: u32, codes: u32) -> vec2<u32> {
    if (PAIRS > 1u) {
        return look_up_pairs(first, codes);
    }
    return look_up8(t, codes);
}

fn levels_pow4(t: Halves, first: u32, p: vec4<u32>) -> Codes {
    let x = look_up_word(t, first, p.x);
    let y = look_up_word(t, first, p.y);
    let z = look_up_word(t, first, p.z);
    let w = look_up_word(t, first, p.w);
    return Codes(vec4<u32>(x.x, y.x, z.x, w.x), vec4<u32>(x.y, y.y, z.y, w.y));
}

// Plane of four bits of a row, and of the bits below: in 5 bits one word, in 6 bits two.
fn levels_stepped(p: vec4<u32>, low: vec2<u32>) -> Codes {
    if (CODES == 32u) {
        let b = low.xxxx;
        let up = b << vec4<u32>(3u, 2u, 1u, 0u);
        let down = b >> vec4<u32>(1u, 2u, 3u, 4u);
        return Codes(biased(stepped(p << vec4<u32>(4u), up)), biased(stepped(p, down)));
    }
    let up = vec4<u32>(low << vec2<u32>(2u), low);
    let down = vec4<u32>(low >> vec2<u32>(2u), low >> vec2<u32>(4u));
    return Codes(biased(stepped(p << vec4<u32>(4u), up)), biased(stepped(p, down)));
}

// Plane of one bit of a row; the look-up ignores the other bits.
fn levels_plane1(t: Table, p: u32) -> Codes {
    let low = vec4<u32>(p, p >> 1u, p >> 2u, p >> 3u);
    return Codes(look_up4(t, low), look_up4(t, low >> vec4<u32>(4u)));
}

// Plane of two bits of a row, and of its high bits (0 for two bits a code).
fn levels_planes(t: Table, p: vec2<u32>, high: u32) -> Codes {
    let low = vec4<u32>(p, p >> vec2<u32>(2u)) & vec4<u32>(0x03030303u);
    let low2 = vec4<u32>(p >> vec2<u32>(4u), p >> vec2<u32>(6u)) & vec4<u32>(0x03030303u);
    let h = (vec4<u32>(high, high >> 1u, high >> 2u, high >> 3u) & vec4<u32>(0x01010101u)) << vec4<u32>(2u);
    let h2 = (vec4<u32>(high >> 4u, high >> 5u, high >> 6u, high >> 7u) & vec4<u32>(0x01010101u)) << vec4<u32>(2u);
    return Codes(look_up4(t, low | h), look_up4(t, low2 | h2));
}

// Ternary codes of a row: its word of twenty, its two bytes and its half byte.
fn levels_ternary(t: Table, five: u32, pair: u32, half: u32) -> Codes {
    let a = digits(five);
    let b = digits(a.rest);
    let c = digits(b.rest);
    let d = digits(c.rest);
    let e = digits(d.rest).codes;
    let first = ternary_pairs(pair);
    let second = after_two(first);
    let third = ternary_last(after_two(second), half);
    let last = vec4<u32>(e, digits(first).codes, digits(second).codes, digits(third).codes);
    return Codes(look_up4(t, vec4<u32>(a.codes, b.codes, c.codes, d.codes)), look_up4(t, last));
}

fn packed(words: vec4<u32>) -> Codes {
    return Codes(words, vec4<u32>());
}

// Packed codes of one group of rows 4·lane .. 4·lane + 3 of a tile of matrix `m`.
fn group_codes(m: u32, cell: u32, lane: u32) -> Four {
    let base = cell * (cell_words() / 4u);
    if (CODES == 256u) {
        let at = base + lane * 8u;
        return Four(
            Codes(quad(m, at), quad(m, at + 1u)),
            Codes(quad(m, at + 2u), quad(m, at + 3u)),
            Codes(quad(m, at + 4u), quad(m, at + 5u)),
            Codes(quad(m, at + 6u), quad(m, at + 7u)));
    }
    if (CODES == 16u) {
        let at = base + lane * 4u;
        return Four(packed(quad(m, at)), packed(quad(m, at + 1u)), packed(quad(m, at + 2u)), packed(quad(m, at + 3u)));
    }
    if (CODES == 32u) {
        let at = base + lane * 4u;
        let low = quad(m, base + 32u + lane);
        return Four(
            Codes(quad(m, at), low.xxxx),
            Codes(quad(m, at + 1u), low.yyyy),
            Codes(quad(m, at + 2u), low.zzzz),
            Codes(quad(m, at + 3u), low.wwww));
    }
    if (CODES == 64u) {
        let at = base + lane * 4u;
        let low = quad(m, base + 32u + lane * 2u);
        let low2 = quad(m, base + 33u + lane * 2u);
        return Four(
            Codes(quad(m, at), low.xyxy),
            Codes(quad(m, at + 1u), low.zwzw),
            Codes(quad(m, at + 2u), low2.xyxy),
            Codes(quad(m, at + 3u), low2.zwzw));
    }
    if (CODES == 2u) {
        let p = quad(m, base + lane);
        return Four(packed(p.xxxx), packed(p.yyyy), packed(p.zzzz), packed(p.wwww));
    }
    if (CODES == 3u) {
        let p = quad(m, base + lane);
        let two = quad(m, base + 8u + (lane >> 1u));
        let pairs = select(two.xy, two.zw, (lane & 1u) == 1u);
        let halves = quad(m, base + 12u)[lane >> 1u] >> (16u * (lane & 1u));
        return Four(
            packed(vec4<u32>(p.x, pairs.x, halves, 0u)),
            packed(vec4<u32>(p.y, pairs.x >> 16u, halves >> 4u, 0u)),
            packed(vec4<u32>(p.z, pairs.y, halves >> 8u, 0u)),
            packed(vec4<u32>(p.w, pairs.y >> 16u, halves >> 12u, 0u)));
    }
    let p = quad(m, base + lane * 2u);
    let q = quad(m, base + lane * 2u + 1u);
    var high = vec4<u32>();
    if (CODES == 8u) {
        high = quad(m, base + 16u + lane);
    }
    return Four(
        packed(vec4<u32>(p.xy, high.x, 0u)),
        packed(vec4<u32>(p.zw, high.y, 0u)),
        packed(vec4<u32>(q.xy, high.z, 0u)),
        packed(vec4<u32>(q.zw, high.w, 0u)));
}

// Levels by a table, whose pairs start at entry `first`.
fn levels_of(t: Halves, first: u32, p: Codes) -> Codes {
    if (CODES == 256u) {
        return Codes(biased(p.a), biased(p.b));
    }
    if (CODES == 16u) {
        return levels_pow4(t, first, p.a);
    }
    if (CODES == 32u || CODES == 64u) {
        return levels_stepped(p.a, p.b.xy);
    }
    if (CODES == 2u) {
        return levels_plane1(t.low, p.a.x);
    }
    if (CODES == 3u) {
        return levels_ternary(t.low, p.a.x, p.a.y, p.a.z);
    }
    return levels_planes(t.low, p.a.xy, p.a.z);
}

fn input_codes(row: u32, g: u32) -> Codes {
    let at = (row + g * 8u) >> 2u;
    return Codes(act[at], act[at + 1u]);
}

fn input_scale(row: u32, groups: u32, g: u32) -> u32 {
    return (act_word(row + groups * 8u + (g >> 2u)) >> (8u * (g & 3u))) & 255u;
}

// What the levels' bias adds to their products with these activations.
fn bias_of(x: Codes) -> i32 {
    let ones = vec4<u32>(0x01010101u);
    return i32(BIAS) * (dot_words(x.a, ones) + dot_words(x.b, ones));
}

// Group `g` of the batch's rows whose activations start at these words; only ROWS of them count.
fn inputs(rows: vec4<u32>, groups: u32, g: u32) -> Inputs {
    var x: Inputs;
    x.x0 = input_codes(rows.x, g);
    x.scales.x = input_scale(rows.x, groups, g);
    if (ROWS > 1u) {
        x.x1 = input_codes(rows.y, g);
        x.scales.y = input_scale(rows.y, groups, g);
    }
    if (ROWS > 2u) {
        x.x2 = input_codes(rows.z, g);
        x.x3 = input_codes(rows.w, g);
        x.scales.z = input_scale(rows.z, groups, g);
        x.scales.w = input_scale(rows.w, groups, g);
    }
    if (BIAS > 0u) {
        x.bias = vec4<i32>(bias_of(x.x0), bias_of(x.x1), bias_of(x.x2), bias_of(x.x3));
    }
    return x;
}

// One group of 32 at a time, whatever its scale's reach: |t| < 2^27; over 1,024 groups `high` stays under 2^31 and the
// low parts' sum under 2^32.
fn add_scaled(s: Sums, t: vec4<i32>, x_scale: u32) -> Sums {
    return Sums(s.low + bitcast<vec4<u32>>(t) * x_scale, s.high + (t >> vec4<u32>(14u)) * i32(x_scale));
}

// One group of a tile added to its products; `scale` is the word of the group's scales of rows 4·lane and on, `first` the
// entry where the table's pairs start.
fn add_group(p: Products, t: Halves, first: u32, m: u32, cell: u32, scale: u32, lane: u32, x: Inputs) -> Products {
    let four = group_codes(m, cell, lane);
    let w_scale = vec4<i32>((vec4<u32>(word(m, scale)) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(255u));
    let a = row_dots(levels_of(t, first, four.w), x) * w_scale.x;
    let b = row_dots(levels_of(t, first, four.x), x) * w_scale.y;
    let c = row_dots(levels_of(t, first, four.y), x) * w_scale.z;
    let d = row_dots(levels_of(t, first, four.z), x) * w_scale.w;
    var out = p;
    out.s0 = add_scaled(p.s0, vec4<i32>(a.x, b.x, c.x, d.x), x.scales.x);
    if (ROWS > 1u) {
        out.s1 = add_scaled(p.s1, vec4<i32>(a.y, b.y, c.y, d.y), x.scales.y);
    }
    if (ROWS > 2u) {
        out.s2 = add_scaled(p.s2, vec4<i32>(a.z, b.z, c.z, d.z), x.scales.z);
        out.s3 = add_scaled(p.s3, vec4<i32>(a.w, b.w, c.w, d.w), x.scales.w);
    }
    return out;
}

// Rows of the batch: ROWS for each workgroup along y, less one for each workgroup along z beyond the first. Those know of
// none, so that they store nothing.
fn batch_rows(group: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return select(workgroups.y * ROWS + 1u - workgroups.z, 0u, group.z > 0u);
}

// Words where the activations of the workgroup's rows start. Rows beyond the last repeat it, and are not stored.
fn input_rows(y: u32, count: u32, stride: u32) -> vec4<u32> {
    let rows = vec4<u32>(y * ROWS) + vec4<u32>(0u, 1u, 2u, 3u);
    return min(rows, vec4<u32>(max(count, 1u) - 1u)) * stride;
}

// Mantissas and exponents of the activations of a workgroup's rows.
struct Units {
    mantissas: vec4<u32>,
    exponents: vec4<i32>,
}

// Of the rows whose activations start at these words; only ROWS of them count.
fn units(rows: vec4<u32>, groups: u32) -> Units {
    let tail = rows + vec4<u32>(groups * 8u + (groups + 3u) / 4u);
    var u: Units;
    u.mantissas.x = act_word(tail.x);
    u.exponents.x = bitcast<i32>(act_word(tail.x + 1u));
    if (ROWS > 1u) {
        u.mantissas.y = act_word(tail.y);
        u.exponents.y = bitcast<i32>(act_word(tail.y + 1u));
    }
    if (ROWS > 2u) {
        u.mantissas.z = act_word(tail.z);
        u.exponents.z = bitcast<i32>(act_word(tail.z + 1u));
        u.mantissas.w = act_word(tail.w);
        u.exponents.w = bitcast<i32>(act_word(tail.w + 1u));
    }
    return u;
}

// The complete sum of a row times its scale and the activations' mantissa, in the unit 2^exponent.
fn rounded(low: u32, high: i32, scale: u32, mantissa: u32, exponent: i32) -> i32 {
    let rest = low - (bitcast<u32>(high) << 14u);
    let sum = add64(shl64(extend64(high), 14u), vec2<u32>(rest, 0u));
    return scale64(sum, (scale & 0xffffu) * mantissa, exponent - (bitcast<i32>(scale) >> 16u));
}

// Words of each kind of sum: none are kept where no lanes share a row (the fraction is then 0, else 1), so that drivers
// clear no memory for them.
override SUMS: u32 = 64u * ROWS * ((SLICES + 30u) / 32u) + 1u;

// Sums over the slices: [units][ROWS][32], a unit being a tile of a matrix; two units at most.
var<workgroup> low_sum: array<atomic<u32>, SUMS>;
var<workgroup> high_sum: array<atomic<i32>, SUMS>;

fn share_sums(s: Sums, at: u32) {
    for (var i = 0u; i < 4u; i++) {
        atomicAdd(&low_sum[at + i], s.low[i]);
        atomicAdd(&high_sum[at + i], s.high[i]);
    }
}

// The products of a unit, of which every slice has a part.
fn share_products(p: Products, unit: u32, lane: u32) {
    let at = unit * ROWS * TILE_ROWS + lane * 4u;
    share_sums(p.s0, at);
    if (ROWS > 1u) {
        share_sums(p.s1, at + TILE_ROWS);
    }
    if (ROWS > 2u) {
        share_sums(p.s2, at + 2u * TILE_ROWS);
        share_sums(p.s3, at + 3u * TILE_ROWS);
    }
}
