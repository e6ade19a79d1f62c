//#import lanes
//#import fixed
//#import norm
//#import quantize
//#import act
// RMSNorm with gains, quantized to activations: one workgroup a row. Grid: x = 1, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][cols]
@group(0) @binding(1) var<storage, read> h: array<i32>;
// [cols]
@group(0) @binding(2) var<storage, read> gains: array<i32>;
// [R][act_stride]
@group(0) @binding(3) var<storage, read_write> act: array<u32>;

// Word where the workgroup's row starts.
var<private> row_start: u32;
var<private> inverse: InverseNorm;

fn input(i: u32) -> i32 {
    return h[row_start + i];
}

fn value(i: u32) -> i32 {
    return sat32(round_shr64(mul_ss(normalised(input(i), inverse), gains[i]), 30u));
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    row_start = group.y * params.cols;
    inverse = inverse_norm(lid, params.cols, params.eps_mantissa, params.eps_exponent);
    quantize_row(lid, group.y * params.act_stride, params.cols, params.gain_exponent);
}
