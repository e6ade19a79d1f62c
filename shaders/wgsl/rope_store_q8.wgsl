//#import lanes
//#import fixed
//#import kv
//#import quantize
//#import rotate
// Queries and keys rotated; queries scaled and quantized to 12 bits, keys and values quantized and stored in their page:
// one workgroup a query head, or a key/value head, of a row.
// Grid: x = query heads, then key/value heads, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [sequences][table_stride]: page of each block of 256 positions
@group(0) @binding(2) var<storage, read> page_table: array<u32>;
// [R][pairs](cos, sin) in Q30
@group(0) @binding(3) var<storage, read> angles: array<vec2<i32>>;
// [R][heads][head_dim]
@group(0) @binding(4) var<storage, read> q: array<i32>;
// [R][kv_heads][head_dim]
@group(0) @binding(5) var<storage, read> k: array<i32>;
// [R][kv_heads][head_dim]
@group(0) @binding(6) var<storage, read> v: array<i32>;
// [R][heads][high plane: head_words | low plane: head_words | exponent]
@group(0) @binding(7) var<storage, read_write> query: array<u32>;
// [pages][kv_heads][a head's page]
@group(0) @binding(8) var<storage, read_write> cache: array<u32>;

// The head's query or key, rotated; zeros behind its last pair. A head has at most 256 dimensions and 8 groups.
var<workgroup> rotated: array<i32, 256>;
// Of a query's groups the first holds the largest of all.
var<workgroup> rotated_max: array<atomic<u32>, 8>;
var<workgroup> value_max: array<atomic<u32>, 8>;

fn element(is_query: bool, i: u32) -> i32 {
    if (is_query) {
        return q[i];
    }
    return k[i];
}

// Keeps element d of the head.
fn keep(is_query: bool, d: u32, x: i32) {
    var kept = x;
    var g = d / GROUP;
    if (is_query) {
        kept = sat32(round_shr64(mul_su(x, params.scale_mantissa), 31u));
        g = 0u;
    }
    rotated[d] = kept;
    atomicMax(&rotated_max[g], magnitude(kept));
}

// Lane's words of the query of head `index` of all rows.
fn store_query(index: u32, lid: u32, words: u32) {
    let bits = bit_len(atomicLoad(&rotated_max[0]));
    let shift = select(0u, bits - 11u, bits > 11u);
    let out = index * (2u * params.head_words + 1u);
    for (var w = lid; w < words; w += LANES) {
        var low = vec4<i32>();
        var high = vec4<i32>();
        for (var b = 0u; b < 4u; b++) {
            let x = extend64(rotated[w * 4u + b]);
            let q12 = clamp(bitcast<i32>(round_shr64(x, shift).x), -QUERY_MAX, QUERY_MAX);
            low[b] = ((q12 + 16) & 31) - 16;
            high[b] = (q12 - low[b]) >> 5u;
        }
        query[out + w] = pack4xI8(high);
        query[out + params.head_words + w] = pack4xI8(low);
        if (w == 0u) {
            let exponent = params.query_exponent + params.scale_exponent + 31 + i32(shift);
            query[out + 2u * params.head_words] = bitcast<u32>(exponent);
        }
    }
}

// Lane's words of key/value head `head` of a row; its values start at word `at`.
fn store_cells(row: u32, head: u32, at: u32, lid: u32, words: u32, groups: u32) {
    let position = row_table[row * ROW_WORDS + 1u];
    let sequence = row_table[row * ROW_WORDS + 2u];
    let page = page_table[sequence * params.table_stride + position / PAGE];
    let slot = position % PAGE;
    let cells = (page * params.kv_heads + head) * kv_head();
    let keys = cells + kv_keys() + slot * params.head_words;
    let values = cells + kv_values() + slot * params.head_words;
    let scales = cells + kv_scales() + slot * params.groups;
    for (var w = lid; w < words; w += LANES) {
        let key_unit = kv_unit(atomicLoad(&rotated_max[w / 8u]));
        let value_unit = kv_unit(atomicLoad(&value_max[w / 8u]));
        var key_codes = vec4<i32>();
        var value_codes = vec4<i32>();
        for (var b = 0u; b < 4u; b++) {
            let d = w * 4u + b;
            if (d < params.head_dim) {
                key_codes[b] = kv_code(rotated[d], key_unit);
                value_codes[b] = kv_code(v[at + d], value_unit);
            }
        }
        cache[keys + w] = pack4xI8(key_codes);
        cache[values + w] = pack4xI8(value_codes);
    }
    for (var g = lid; g < groups; g += LANES) {
        let key_unit = kv_unit(atomicLoad(&rotated_max[g]));
        let value_unit = kv_unit(atomicLoad(&value_max[g]));
        cache[scales + g] =
            kv_scale(key_unit, params.key_exponent) | (kv_scale(value_unit, params.value_exponent) << 16u);
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = group.y;
    let is_query = group.x < params.heads;
    let head = select(group.x - params.heads, group.x, is_query);
    let index = row * select(params.kv_heads, params.heads, is_query) + head;
    let at = index * params.head_dim;
    let pairs = params.head_dim / 2u;
    for (var i = lid; i < pairs; i += LANES) {
        let angle = angles[row * pairs + i];
        let a = element(is_query, at + i);
        let b = element(is_query, at + i + pairs);
        keep(is_query, i, rotate(true, a, b, angle.x, angle.y));
        keep(is_query, i + pairs, rotate(false, a, b, angle.x, angle.y));
    }
    for (var d = lid; d < select(params.head_dim, 0u, is_query); d += LANES) {
        atomicMax(&value_max[d / GROUP], magnitude(v[at + d]));
    }
    workgroupBarrier();

    // What a workgroup has not to do are loops over nothing.
    store_query(index, lid, select(0u, params.head_words, is_query));
    let cells = select(params.head_words, 0u, is_query);
    store_cells(row, head, at, lid, cells, select(params.groups, 0u, is_query));
}
