//#import lanes
//#import fixed
//#import norm
//#import residual
// RMSNorm with gains, added to the residual stream: one workgroup a row. Grid: x = 1, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][act_stride]: the activations whose exponent the input's unit contains
@group(0) @binding(1) var<storage, read> act: array<u32>;
// [R][cols]
@group(0) @binding(2) var<storage, read> x: array<i32>;
// [cols]
@group(0) @binding(3) var<storage, read> gains: array<i32>;
// [R][cols]
@group(0) @binding(4) var<storage, read_write> h: array<i32>;
// saturations, largest magnitude
@group(0) @binding(5) var<storage, read_write> stats: array<atomic<u32>>;

// Word where the workgroup's row starts.
var<private> row_start: u32;

fn input(i: u32) -> i32 {
    return x[row_start + i];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    row_start = group.y * params.cols;
    let unit = bitcast<i32>(act[group.y * params.act_stride + params.act_exponent]);
    let inverse = inverse_norm(lid, params.cols, params.eps_mantissa, params.eps_exponent - 2 * unit);
    for (var i = lid; i < params.cols; i += LANES) {
        // |n| <= 2^30 and |gain| <= 2^31: the product stays within 2^61.
        add_residual(row_start + i, requant64(mul_ss(normalised(input(i), inverse), gains[i]), params.shift));
    }
    keep_statistics();
}
