//#import fixed
// silu(gate)·up: one invocation an element. Grid: x = ceil(cols / 64), y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][cols]
@group(0) @binding(1) var<storage, read> gate: array<i32>;
// [R][cols]
@group(0) @binding(2) var<storage, read> up: array<i32>;
// [R][cols]
@group(0) @binding(3) var<storage, read_write> out: array<i32>;

// g / (1 + e^-g) in the unit of g.
fn silu(g: i32) -> i32 {
    let x = requant64(mul_uu(magnitude(g), LOG2_E_Q30), 14 - params.gate_exponent);
    let e = exp2_neg_q30(u32(x));
    // 1 + e in Q31, just below 2 where e = 1.
    let denominator = select(0x80000000u + (e << 1u), 0xffffffffu, e == 0x40000000u);
    var sigmoid = recip_q62(denominator);
    if (g < 0) {
        sigmoid = shr64(add64(mul_uu(sigmoid, e), vec2<u32>(1u << 29u, 0u)), 30u).x;
    }
    return bitcast<i32>(round_shr64(mul_su(g, sigmoid), 31u).x);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols) {
        return;
    }
    let i = id.y * params.cols + id.x;
    out[i] = sat32(round_shr64(mul_ss(silu(gate[i]), up[i]), 30u));
}
