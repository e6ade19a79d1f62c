//#import fixed
//#import unit
// activation(gate)·up: one invocation an element. Grid: x = ceil(cols / 64), y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][cols]
@group(0) @binding(1) var<storage, read> gate: array<i32>;
// [R][cols]
@group(0) @binding(2) var<storage, read> up: array<i32>;
// [R][cols]
@group(0) @binding(3) var<storage, read_write> out: array<i32>;

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.cols) {
        return;
    }
    let i = id.y * params.cols + id.x;
    out[i] = gated_unit(gate[i], up[i]);
}
