//#import fixed
//#import softcap
// cap·tanh(z/cap) in place: one invocation an element, strides over x. Grid: x = ceil(cols / 64) at most
// 1024, y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][cols]
@group(0) @binding(1) var<storage, read_write> logits: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>, @builtin(num_workgroups) count: vec3<u32>) {
    for (var i = id.x; i < params.cols; i += count.x * 64u) {
        let at = id.y * params.cols + i;
        logits[at] = softcap(logits[at], params.cap_mantissa, params.cap_shift, params.rate_mantissa, params.rate_shift);
    }
}
