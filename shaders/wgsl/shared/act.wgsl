// One row of values quantized to activations by a workgroup of 64, which supplies `value(i)`,
// column i of the row. Twin: quantize_row in src/cpu/quantize.rs.

// Largest magnitude of the row.
var<workgroup> row_max: atomic<u32>;
// Scales of 64 neighbouring groups.
var<workgroup> scales_of: array<u32, 64>;

// `at` is the word where the row of activations starts:
// codes [groups·8] | scales [ceil(groups/4)] | mantissa | exponent | zeros up to the stride.
// All invocations of the workgroup call it together.
fn quantize_row(lid: u32, at: u32, cols: u32, exponent: i32) {
    var most = 0u;
    for (var i = lid; i < cols; i += 64u) {
        most = max(most, magnitude(value(i)));
    }
    atomicMax(&row_max, most);
    workgroupBarrier();
    let unit = row_unit(atomicLoad(&row_max));

    let groups = (cols + GROUP - 1u) / GROUP;
    let tail = groups * 8u + (groups + 3u) / 4u;
    for (var base = 0u; base < groups; base += 64u) {
        let g = base + lid;
        if (g < groups) {
            scales_of[lid] = quantize_group(at, g, cols, unit);
        } else {
            scales_of[lid] = 0u;
        }
        workgroupBarrier();
        let word = base / 4u + lid;
        if (lid < 16u && word < (groups + 3u) / 4u) {
            let s = lid * 4u;
            act[at + groups * 8u + word] = scales_of[s] | (scales_of[s + 1u] << 8u)
                | (scales_of[s + 2u] << 16u) | (scales_of[s + 3u] << 24u);
        }
        workgroupBarrier();
    }
    if (lid == 0u) {
        act[at + tail] = unit.mantissa;
        act[at + tail + 1u] = bitcast<u32>(exponent + unit.exponent);
        for (var i = tail + 2u; i < params.act_stride; i++) {
            act[at + i] = 0u;
        }
    }
}

// Writes the group's codes and returns its scale.
fn quantize_group(at: u32, g: u32, cols: u32, unit: RowUnit) -> u32 {
    let end = min(g * GROUP + GROUP, cols);
    var most = 0u;
    for (var i = g * GROUP; i < end; i++) {
        most = max(most, magnitude(value(i)));
    }
    let scale = group_scale(unit, most);
    let divisor = group_divisor(unit, scale);
    for (var w = 0u; w < 8u; w++) {
        let first = g * GROUP + w * 4u;
        var q = vec4<i32>();
        for (var b = 0u; b < 4u; b++) {
            if (first + b < end) {
                q[b] = code(value(first + b), divisor);
            }
        }
        act[at + g * 8u + w] = pack4xI8(q);
    }
    return scale;
}
