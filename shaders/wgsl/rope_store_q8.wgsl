//#import lanes
//#import fixed
//#import kv
//#import narrow
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

// The head's query or key, as it is stored; zeros behind its last pair. A head has at most 256 dimensions and 8 groups.
var<workgroup> kept: array<i32, 256>;
// What is turned before.
var<workgroup> rotated: array<i32, 256>;
// Of a query's groups the first holds the largest of all.
var<workgroup> kept_max: array<atomic<u32>, 8>;
var<workgroup> value_max: array<atomic<u32>, 8>;

fn element(is_query: bool, i: u32) -> i32 {
    if (is_query) {
        return q[i];
    }
    return k[i];
}

// Keeps element d of the head.
fn keep(is_query: bool, d: u32, x: i32) {
    var element = x;
    var g = d / GROUP;
    if (is_query) {
        element = sat32(round_shr64(mul_su(x, params.scale_mantissa), 31u));
        g = 0u;
    }
    kept[d] = element;
    atomicMax(&kept_max[g], magnitude(element));
}

// Element d of the head, rotated: kept, or to be turned first.
fn place(is_query: bool, d: u32, x: i32) {
    if (has_narrow(NARROW_KEYS)) {
        rotated[d] = x;
    } else {
        keep(is_query, d, x);
    }
}

// Element d of the head, its group turned if it is whole. Both halves of 32 elements stay within 2^21.
fn turned(d: u32) -> i32 {
    let first = d - d % GROUP;
    if (first + GROUP > params.head_dim) {
        return rotated[d];
    }
    var high = 0;
    var low = 0;
    for (var i = 0u; i < GROUP; i++) {
        let x = rotated[first + i];
        let sign = 1 - 2 * i32(countOneBits(i & d) & 1u);
        high += sign * (x >> 16u);
        low += sign * (x & 0xffff);
    }
    let sum = add64(shl64(extend64(high), 16u), extend64(low));
    return sat32(round_shr64(sum, TURN_SHIFT));
}

// Lane's words of the query of head `index` of all rows.
fn store_query(index: u32, lid: u32, words: u32) {
    let bits = bit_len(atomicLoad(&kept_max[0]));
    let shift = select(0u, bits - 11u, bits > 11u);
    let out = index * (2u * params.head_words + 1u);
    for (var w = lid; w < words; w += LANES) {
        var low = vec4<i32>();
        var high = vec4<i32>();
        for (var b = 0u; b < 4u; b++) {
            let x = extend64(kept[w * 4u + b]);
            let q12 = clamp(bitcast<i32>(round_shr64(x, shift).x), -QUERY_MAX, QUERY_MAX);
            low[b] = ((q12 + 16) & 31) - 16;
            high[b] = (q12 - low[b]) >> 5u;
        }
        query[out + w] = pack4xI8(high);
        query[out + params.head_words + w] = pack4xI8(low);
        if (w == 0u) {
            let more = select(0u, TURN_SHIFT, has_narrow(NARROW_KEYS)) + shift;
            let exponent = params.query_exponent + params.scale_exponent + 31 + i32(more);
            query[out + 2u * params.head_words] = bitcast<u32>(exponent);
        }
    }
}

// The code of 8 bits of dimension d of the head's key, or of its value, whose elements start at `at`.
fn code_of(is_key: bool, at: u32, d: u32, unit: KvUnit) -> i32 {
    if (d >= params.head_dim) {
        return 0;
    }
    if (is_key) {
        return kv_code(kept[d], unit);
    }
    return kv_code(v[at + d], unit);
}

fn unit_of(is_key: bool, g: u32) -> KvUnit {
    if (is_key) {
        return kv_unit(atomicLoad(&kept_max[g]));
    }
    return kv_unit(atomicLoad(&value_max[g]));
}

// Lane's words of `words` of a key or a value, from word `out` of the cache on; with `narrow` of codes of 4 bits.
fn store_codes(is_key: bool, narrow: bool, at: u32, out: u32, lid: u32, words: u32) {
    for (var w = lid; w < words; w += LANES) {
        let g = w / select(8u, 4u, narrow);
        let unit = unit_of(is_key, g);
        let first = select(w * 4u, g * GROUP + w % 4u * 4u, narrow);
        if (narrow) {
            var word = 0u;
            for (var b = 0u; b < 4u; b++) {
                let low = narrowed(code_of(is_key, at, first + b, unit));
                let high = narrowed(code_of(is_key, at, first + b + 16u, unit));
                word |= (low | (high << 4u)) << (8u * b);
            }
            cache[out + w] = word;
        } else {
            var codes = vec4<i32>();
            for (var b = 0u; b < 4u; b++) {
                codes[b] = code_of(is_key, at, first + b, unit);
            }
            cache[out + w] = pack4xI8(codes);
        }
    }
}

// Lane's words of key/value head `head` of a row; its values start at word `at`. Of a query nothing is stored.
fn store_cells(row: u32, head: u32, at: u32, lid: u32, is_query: bool) {
    let position = row_table[row * ROW_WORDS + 1u];
    let sequence = row_table[row * ROW_WORDS + 2u];
    let page = page_table[sequence * params.table_stride + position / PAGE];
    let slot = position % PAGE;
    let cells = (page * params.kv_heads + head) * kv_head();
    let key_words = kv_keys_words();
    let value_words = kv_values_words();
    let keys = cells + kv_keys() + slot * key_words;
    let values = cells + kv_values() + slot * value_words;
    let scales = cells + kv_scales() + slot * params.groups;
    store_codes(true, has_narrow(NARROW_KEYS), at, keys, lid, select(key_words, 0u, is_query));
    store_codes(false, has_narrow(NARROW_VALUES), at, values, lid, select(value_words, 0u, is_query));
    for (var g = lid; g < select(params.groups, 0u, is_query); g += LANES) {
        let key_scale = kv_scale(unit_of(true, g), params.key_exponent);
        let value_scale = kv_scale(unit_of(false, g), params.value_exponent);
        cache[scales + g] = key_scale | (value_scale << 16u);
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
        place(is_query, i, rotate(true, a, b, angle.x, angle.y));
        place(is_query, i + pairs, rotate(false, a, b, angle.x, angle.y));
    }
    if (has_narrow(NARROW_KEYS)) {
        workgroupBarrier();
        for (var d = lid; d < 2u * pairs; d += LANES) {
            keep(is_query, d, turned(d));
        }
    }
    for (var d = lid; d < select(params.head_dim, 0u, is_query); d += LANES) {
        atomicMax(&value_max[d / GROUP], magnitude(v[at + d]));
    }
    workgroupBarrier();

    // What a workgroup has not to do are loops over nothing.
    store_query(index, lid, select(0u, params.head_words, is_query));
    store_cells(row, head, at, lid, is_query);
}
