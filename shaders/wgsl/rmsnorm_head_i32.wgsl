//#import lanes
//#import fixed
//#import norm
// RMSNorm with gains of each head, in place: one workgroup a head of a row. Grid: x = heads, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [head_dim]
@group(0) @binding(1) var<storage, read> gains: array<i32>;
// [R][heads][head_dim]
@group(0) @binding(2) var<storage, read_write> x: array<i32>;

// Word where the workgroup's head starts.
var<private> head_start: u32;

fn input(i: u32) -> i32 {
    return x[head_start + i];
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    head_start = (group.y * params.heads + group.x) * params.head_dim;
    let inverse = inverse_norm(lid, params.head_dim, params.eps_mantissa, params.eps_exponent);
    // The norm's last barrier lies behind every lane's last look at the others' elements.
    for (var i = lid; i < params.head_dim; i += LANES) {
        x[head_start + i] = sat32(round_shr64(mul_ss(normalised(input(i), inverse), gains[i]), 30u));
    }
}
