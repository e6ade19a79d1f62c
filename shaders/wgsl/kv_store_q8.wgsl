//#import fixed
//#import quantize
//#import rotate
// Keys rotated, keys and values quantized, both stored in their page: one workgroup a head of a row.
// Grid: x = heads, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [sequences][table_stride]: page of each block of 256 positions
@group(0) @binding(2) var<storage, read> page_table: array<u32>;
// [R][pairs][cos, sin] in Q30
@group(0) @binding(3) var<storage, read> angles: array<i32>;
// [R][heads][head_dim]
@group(0) @binding(4) var<storage, read> k: array<i32>;
// [R][heads][head_dim]
@group(0) @binding(5) var<storage, read> v: array<i32>;
// [pages][heads][keys: 256·head_words | values: 256·head_words | scales: 256·groups]
@group(0) @binding(6) var<storage, read_write> cache: array<u32>;

// A head has at most 8 groups.
var<workgroup> key_max: array<atomic<u32>, 8>;
var<workgroup> value_max: array<atomic<u32>, 8>;

// Element d of the head at `at`, rotated.
fn key(at: u32, row: u32, d: u32) -> i32 {
    let pairs = params.head_dim / 2u;
    if (d >= 2u * pairs) {
        return 0;
    }
    let first = d < pairs;
    let i = select(d - pairs, d, first);
    let angle = (row * pairs + i) * 2u;
    return rotate(first, k[at + i], k[at + i + pairs], angles[angle], angles[angle + 1u]);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = group.y;
    let at = (row * params.heads + group.x) * params.head_dim;
    for (var d = lid; d < params.head_dim; d += 64u) {
        atomicMax(&key_max[d / GROUP], magnitude(key(at, row, d)));
        atomicMax(&value_max[d / GROUP], magnitude(v[at + d]));
    }
    workgroupBarrier();

    let position = row_table[row * ROW_WORDS + 1u];
    let sequence = row_table[row * ROW_WORDS + 2u];
    let page = page_table[sequence * params.table_stride + position / PAGE];
    let slot = position % PAGE;
    let words = params.head_words;
    let head_stride = PAGE * (2u * words + params.groups);
    let base = (page * params.heads + group.x) * head_stride;
    for (var w = lid; w < words; w += 64u) {
        let g = w / 8u;
        let key_unit = kv_unit(atomicLoad(&key_max[g]));
        let value_unit = kv_unit(atomicLoad(&value_max[g]));
        var key_codes = vec4<i32>();
        var value_codes = vec4<i32>();
        for (var b = 0u; b < 4u; b++) {
            let d = w * 4u + b;
            if (d < params.head_dim) {
                key_codes[b] = kv_code(key(at, row, d), key_unit);
                value_codes[b] = kv_code(v[at + d], value_unit);
            }
        }
        cache[base + slot * words + w] = pack4xI8(key_codes);
        cache[base + (PAGE + slot) * words + w] = pack4xI8(value_codes);
    }
    if (lid < params.groups) {
        let key_unit = kv_unit(atomicLoad(&key_max[lid]));
        let value_unit = kv_unit(atomicLoad(&value_max[lid]));
        cache[base + 2u * PAGE * words + slot * params.groups + lid] =
            kv_scale(key_unit, params.key_exponent) | (kv_scale(value_unit, params.value_exponent) << 16u);
    }
}
