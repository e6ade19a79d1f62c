// One row of values quantized to activations by a workgroup, which supplies `value(i)`,
// column i of the row. Definition: quantize_row in src/reference/quantize.rs.

// Largest magnitudes of the row and of its groups, of which a row has at most 1,024.
var<workgroup> row_max: atomic<u32>;
var<workgroup> group_max: array<atomic<u32>, 1024>;

fn value_or_zero(i: u32, cols: u32) -> i32 {
    if (i < cols) {
        return value(i);
    }
    return 0;
}

// The columns of word w of the codes; beyond the row they are 0.
fn columns(w: u32, cols: u32) -> vec4<i32> {
    let i = w * 4u;
    return vec4<i32>(
        value_or_zero(i, cols),
        value_or_zero(i + 1u, cols),
        value_or_zero(i + 2u, cols),
        value_or_zero(i + 3u, cols));
}

// `at` is the word where the row of activations starts:
// codes [groups·8] | scales [ceil(groups/4)] | mantissa | exponent | zeros up to the stride.
// All invocations of the workgroup call it together: a lane has every LANES-th word of codes.
fn quantize_row(lid: u32, at: u32, cols: u32, exponent: i32) {
    let groups = (cols + GROUP - 1u) / GROUP;
    var most = 0u;
    for (var w = lid; w < groups * 8u; w += LANES) {
        let v = columns(w, cols);
        let own = max(max(magnitude(v.x), magnitude(v.y)), max(magnitude(v.z), magnitude(v.w)));
        atomicMax(&group_max[w / 8u], own);
        most = max(most, own);
    }
    atomicMax(&row_max, most);
    workgroupBarrier();
    let unit = row_unit(atomicLoad(&row_max));

    for (var w = lid; w < groups * 8u; w += LANES) {
        let divisor = group_divisor(unit, scale_of(unit, w / 8u));
        let v = columns(w, cols);
        let q = vec4<i32>(code(v.x, divisor), code(v.y, divisor), code(v.z, divisor), code(v.w, divisor));
        act[at + w] = pack4xI8(q);
    }
    let scales = at + groups * 8u;
    let scale_words = (groups + 3u) / 4u;
    for (var w = lid; w < scale_words; w += LANES) {
        var four = 0u;
        for (var i = 0u; i < 4u; i++) {
            if (w * 4u + i < groups) {
                four |= scale_of(unit, w * 4u + i) << (8u * i);
            }
        }
        act[scales + w] = four;
    }
    if (lid == 0u) {
        let tail = scales + scale_words;
        act[tail] = unit.mantissa;
        act[tail + 1u] = bitcast<u32>(exponent + unit.exponent);
        for (var i = tail + 2u; i < at + params.act_stride; i++) {
            act[i] = 0u;
        }
    }
}

fn scale_of(unit: RowUnit, g: u32) -> u32 {
    return group_scale(unit, atomicLoad(&group_max[g]));
}
