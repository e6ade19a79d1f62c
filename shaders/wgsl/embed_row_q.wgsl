//#import fixed
//#import levels
// Rows of the embedding, decoded into the residual stream: one invocation four columns of a row.
// Grid: x = ceil(groups·8 / 64), y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// One part of the matrix: codes | scales | row scales.
@group(0) @binding(2) var<storage, read> weights: array<u32>;
// [R][cols]
@group(0) @binding(3) var<storage, read_write> h: array<i32>;

// Levels 4w..4w+3 of row `r` of a tile's group, one a byte.
fn levels(cell: u32, r: u32, w: u32) -> u32 {
    let base = cell * cell_words();
    if (CODES == 256u) {
        return weights[base + r * 8u + w];
    }
    if (CODES == 32u || CODES == 64u) {
        let high = weights[base + r * 4u + (w & 3u)] << (4u - (w & 4u));
        // Of 5 bits, bit w comes to bit 3; of 6 bits, two bits of one of two words come to bits 2 and 3.
        var low = weights[base + 128u + r];
        var at = w;
        var to = 3u;
        if (CODES == 64u) {
            low = weights[base + 128u + r * 2u + (w & 1u)];
            at = w & 6u;
            to = 2u;
        }
        low = (low >> (max(at, to) - to)) << (to - min(at, to));
        return stepped(vec4<u32>(high), vec4<u32>(low)).x;
    }
    let table = table_of(params.table, STRAIGHT);
    if (CODES == 16u) {
        return look_up(table, weights[base + r * 4u + (w & 3u)] >> (w & 4u));
    }
    if (CODES == 2u) {
        return look_up(table, weights[base + r] >> w);
    }
    if (CODES == 3u) {
        var rest = weights[base + r];
        var skip = w;
        if (w >= 5u) {
            let pair = weights[base + 32u + r / 2u] >> (16u * (r & 1u));
            let half = weights[base + 48u + r / 8u] >> (4u * (r & 7u));
            rest = ternary_pairs(pair);
            skip = 2u * (w - 5u);
            if (w == 7u) {
                rest = ternary_last(after_two(after_two(rest)), half);
                skip = 0u;
            }
        }
        for (var i = 0u; i < skip; i++) {
            rest = digits(rest).rest;
        }
        return look_up(table, digits(rest).codes);
    }
    let plane = (weights[base + r * 2u + (w & 1u)] >> (w & 6u)) & 0x03030303u;
    if (CODES == 4u) {
        return look_up(table, plane);
    }
    let high = (weights[base + 64u + r] >> w) & 0x01010101u;
    return look_up(table, plane | (high << 2u));
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let group = id.x / 8u;
    let token = row_table[id.y * ROW_WORDS];
    let row = token - params.row_start;
    if (group >= params.groups || row >= params.part_rows) {
        return;
    }
    let cell = row / TILE_ROWS * params.groups + group;
    let r = row % TILE_ROWS;
    let scale_at = scale_cell(row / TILE_ROWS, params.groups, group, params.scale_shift);
    let scale_word = weights[params.scales + scale_at * 8u + r / 4u];
    let ws = i32((scale_word >> (8u * (r & 3u))) & 255u);
    let scale = weights[params.row_scales + row];
    // |level·ws·mantissa| <= 128·255·65535 < 2^31.
    let unit = ws * i32(scale & 0xffffu);
    let exponent = bitcast<i32>(scale) >> 16u;
    let shift = params.exponent - exponent;
    let v = unpack4xI8(levels(cell, r, id.x & 7u));
    let column = id.x * 4u;
    for (var i = 0u; i < 4u; i++) {
        if (column + i < params.cols) {
            h[id.y * params.cols + column + i] = requant64(extend64(v[i] * unit), shift);
        }
    }
}
